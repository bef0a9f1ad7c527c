//! Fairway's packet path, written once and compiled into four homes: the XDP program, the simulator, the fuzzers and
//! `fairway explain`. It is generic over the octets of a packet ([`packet::Packet`]) and the tables ([`path::Tables`]),
//! so what the tests prove natively is what runs in the kernel.
//!
//! Per packet: parse ([`packet`]) → service → backend ([`path`]) → forward → count. The layouts of the tables are in
//! [`abi`]; which flow goes where is [`slot`] and [`flow`].
#![no_std]

pub mod abi;
pub mod access;
pub mod address;
pub mod checksum;
pub mod connection;
pub mod counters;
pub mod flow;
pub mod hash;
pub mod limits;
pub mod outer;
pub mod own_client;
pub mod packet;
pub mod path;
pub mod probe;
pub mod scheduler;
pub mod selection;
pub mod slot;
pub mod trace;
