//! The internet checksum by its definition (RFC 1071), octet by octet and big-endian, and SCTP's by its own, bit by bit: slow and plain.

/// The checksum of `octets`, in host order. Over octets that hold a right checksum it is 0.
pub fn internet(octets: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded at every step")
}

/// CRC32c (RFC 9260 appendix A), of which SCTP sends the octet with the lowest powers first.
pub fn crc32c(octets: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    !octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ REFLECTED })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_of_the_nine_digits_is_what_everybody_says() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_example_of_rfc_1071_section_3_holds() {
        assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
