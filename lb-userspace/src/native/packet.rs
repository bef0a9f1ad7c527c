//! A frame in plain memory, with headroom like a driver leaves.

use lb_common::packet::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets in front of a frame that tags may be pushed into: what XDP drivers leave at least (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

/// A frame that the packet path may read and rewrite.
#[derive(Clone, Debug)]
pub struct NativePacket {
    buffer: Vec<u8>,
    start: usize,
    interface: u32,
}

impl NativePacket {
    /// A copy of `frame` as it came in by `interface`.
    pub fn new(frame: &[u8], interface: u32) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(frame);
        Self { buffer, start: HEADROOM, interface }
    }

    /// The frame as it is now.
    pub fn frame(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Packet for NativePacket {
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.frame().get(offset..)?).ok().map(|(value, _)| value)
    }

    fn store<T: IntoBytes + Immutable + Copy>(&mut self, offset: usize, value: T) -> Option<()> {
        value.write_to_prefix(self.buffer[self.start..].get_mut(offset..)?).ok()
    }

    fn front<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned>(&mut self) -> Option<&mut T> {
        T::mut_from_prefix(&mut self.buffer[self.start..]).ok().map(|(front, _)| front)
    }

    fn adjust_head(&mut self, delta: i32) -> Option<()> {
        let start = self.start.checked_add_signed(delta as isize)?;
        // The kernel refuses to leave less than an Ethernet header.
        if start + 14 > self.buffer.len() {
            return None;
        }
        self.start = start;
        Some(())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        if self.frame().len() <= length {
            return None;
        }
        self.buffer.truncate(self.start + length);
        Some(())
    }

    fn interface(&self) -> u32 {
        self.interface
    }
}
