//! Frames as octets, from what matters in them: so that a test says what goes in, and the same with its changes comes out.

use std::net::IpAddr;

use lb_common::checksum::full;

/// One TCP segment without payload, or one UDP datagram.
#[derive(Clone, Debug)]
pub struct Frame {
    pub to: [u8; 6],
    pub from: [u8; 6],
    /// 802.1Q tags, outer first.
    pub tags: Vec<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// UDP otherwise.
    pub tcp: bool,
    /// Of TCP's header.
    pub flags: u8,
    pub ports: [u16; 2],
    pub time_to_live: u8,
}

/// A connection begins.
pub const SYN: u8 = 0x02;
/// It goes on.
pub const ACK: u8 = 0x10;

impl Frame {
    pub fn octets(&self) -> Vec<u8> {
        let tags = self.tags.iter().flat_map(|&tag| [[0x81, 0x00], tag.to_be_bytes()].concat());
        let mut frame: Vec<u8> = self.to.into_iter().chain(self.from).chain(tags).collect();
        let segment = self.segment();
        let length = segment.len() as u16;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = vec![0x45, 0];
                header.extend((20 + length).to_be_bytes());
                header.extend([0x12, 0x34, 0x40, 0, self.time_to_live, self.protocol(), 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                let checksum = full(0, &header).to_ne_bytes();
                header[10..12].copy_from_slice(&checksum);
                frame.extend([0x08, 0x00]);
                frame.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([self.protocol(), self.time_to_live]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => unreachable!("a packet is of one family"),
        }
        frame.extend(segment);
        frame
    }

    fn protocol(&self) -> u8 {
        if self.tcp { 6 } else { 17 }
    }

    fn segment(&self) -> Vec<u8> {
        const PAYLOAD: &[u8] = b"fairway under Linux 6.1";
        let mut segment: Vec<u8> = self.ports.iter().flat_map(|port| port.to_be_bytes()).collect();
        let at = if self.tcp {
            // A sequence number, no acknowledgement, a header of 20 octets, flags, a window.
            segment.extend([1, 2, 3, 4, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
            16
        } else {
            segment.extend((8 + PAYLOAD.len() as u16).to_be_bytes());
            segment.extend([0, 0]);
            segment.extend(PAYLOAD);
            6
        };
        let checksum = full(0, &[self.pseudo_header(segment.len() as u16), segment.clone()].concat());
        segment[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
        segment
    }

    fn pseudo_header(&self, length: u16) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let [high, low] = length.to_be_bytes();
        [octets(self.source), octets(self.destination), vec![0, self.protocol(), high, low]].concat()
    }
}
