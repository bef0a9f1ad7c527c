//! The packet path over plain memory: one of its four homes. `fairway explain`, the simulator, the fuzzers and the packet
//! tests run here exactly what runs in the kernel.

mod packet;
mod tables;
mod words;

pub use packet::NativePacket;
pub use tables::{FlowId, NativeTables, TraceLine};
