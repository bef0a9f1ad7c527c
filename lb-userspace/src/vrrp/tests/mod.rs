//! The engine in virtual time: known packets and events in, effects out. `bench` holds one node, `pair` two that talk.

mod groups;
mod handover;
mod histories;
mod pauses;
mod peer;
mod ready;
mod receive;
mod reload;
mod scale;
mod stall;
mod states;
mod stopping;
mod tracks;

mod bench;
mod pair;
