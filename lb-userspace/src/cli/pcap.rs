//! The classic capture file (draft-ietf-opsawg-pcap): what every tool reads. Little-endian, microseconds, Ethernet.

use std::io::{self, Write};

const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: (u16, u16) = (2, 4);
/// Octets kept of a packet: more than any packet has.
const SNAP_LENGTH: u32 = 262_144;
const LINKTYPE_ETHERNET: u32 = 1;

/// A capture being written.
pub struct Pcap<W> {
    out: W,
}

impl<W: Write> Pcap<W> {
    /// Begins one.
    pub fn start(mut out: W) -> io::Result<Self> {
        let mut head = Vec::with_capacity(24);
        head.extend(MAGIC.to_le_bytes());
        head.extend(VERSION.0.to_le_bytes());
        head.extend(VERSION.1.to_le_bytes());
        head.extend([0; 8]); // two fields that are zero by definition
        head.extend(SNAP_LENGTH.to_le_bytes());
        head.extend(LINKTYPE_ETHERNET.to_le_bytes());
        out.write_all(&head)?;
        Ok(Self { out })
    }

    /// Adds a packet that came at `time`, in seconds since the Unix epoch. It is on disk when this returns, so that an
    /// interrupted trace leaves a whole file.
    pub fn packet(&mut self, time: f64, octets: &[u8]) -> io::Result<()> {
        let kept = &octets[..octets.len().min(SNAP_LENGTH as usize)];
        let micros = (time.max(0.0) * 1e6) as u64;
        let words = [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, kept.len() as u32, octets.len() as u32];
        let mut record: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        record.extend(kept);
        self.out.write_all(&record)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_has_the_known_bytes() {
        let mut out = Vec::new();
        let mut pcap = Pcap::start(&mut out).unwrap();
        pcap.packet(1.5, &[0xaa, 0xbb]).unwrap();
        let head = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, //
        ];
        let record = [1, 0, 0, 0, 0x20, 0xa1, 7, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb];
        assert_eq!(out, [&head[..], &record[..]].concat());
    }
}
