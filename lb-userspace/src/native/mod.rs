//! The packet path over plain memory: one of its four homes. `fairway explain`, the simulator, the fuzzers and the packet
//! tests run here exactly what runs in the kernel.

mod packet;
mod records;
mod tables;
mod words;

use lb_common::path::{self, Verdict};

pub use packet::NativePacket;
pub use tables::{FlowId, NativeTables, TraceLine};

/// Decides a frame's fate, and rewrites it if it is forwarded. The path is compiled here once: it is long, and wherever it is called by its
/// own name it is compiled again.
#[inline(never)]
pub fn process(packet: &mut NativePacket, tables: &NativeTables) -> Verdict {
    path::process(packet, tables)
}
