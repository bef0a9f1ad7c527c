//! The engine in virtual time: known packets and events in, effects out.

mod receive;
mod states;

mod bench;
