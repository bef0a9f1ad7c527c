//! What the tables should hold, and the ordered writes that get them there. Pure: it produces values, and
//! `effects::dataplane` carries them out.

pub mod access;
pub mod census;
pub mod changes;
pub mod entries;
pub mod half;
pub mod image;
pub mod listening;
pub mod live;
pub mod perfect_hash;
pub mod placed;
pub mod plan;
pub mod planner;
pub mod quic;
pub mod ranges;
pub mod recount;
pub mod rows;
pub mod sharing;
pub mod sources;
pub mod stateful;
pub mod tables;
pub mod write;
