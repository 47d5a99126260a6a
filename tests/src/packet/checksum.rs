//! The internet checksum (RFC 1071), from scratch and over everything, the slow and obvious way.

use std::net::IpAddr;

/// The checksum over `parts`, as if they followed each other. Only the last part may be of odd length.
/// Over data that holds its own right checksum the result is 0.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            // A lone last byte counts as if a zero followed.
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            sum += u64::from(word);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to sixteen bits")
}

/// The checksum of a TCP, UDP or ICMP (version 6) segment with its pseudo header (RFC 9293
/// section 3.1, RFC 768, RFC 8200 section 8.1). Over a segment that holds its own right checksum the result is 0. The caller
/// turns 0 into 0xffff where UDP needs it. Panics if the addresses are of different families.
pub fn transport_checksum(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    segment: &[u8],
) -> u16 {
    let length = u32::try_from(segment.len()).expect("a segment is shorter than 4 GiB");
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [_, _, high, low] = length.to_be_bytes();
            internet_checksum(&[
                &source.octets(),
                &destination.octets(),
                &[0, protocol, high, low],
                segment,
            ])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => internet_checksum(&[
            &source.octets(),
            &destination.octets(),
            &length.to_be_bytes(),
            &[0, 0, 0, protocol],
            segment,
        ]),
        _ => panic!("{source} and {destination} are of different families"),
    }
}

/// The checksum of SCTP (RFC 9260, appendix A), bit by bit: CRC-32C, its bytes in the order in which they lie in
/// the packet. The packet's own field must hold 0.
pub fn sctp_checksum(packet: &[u8]) -> [u8; 4] {
    let mut remainder = u32::MAX;
    for byte in packet {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = remainder & 1;
            remainder = (remainder >> 1) ^ (0x82f6_3b78 * carry);
        }
    }
    (!remainder).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32c_comes_out() {
        assert_eq!(sctp_checksum(b"123456789"), 0xe306_9283_u32.to_le_bytes());
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        // Section 3: the words sum to ddf2.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&[&data]), !0xddf2);
    }

    #[test]
    fn an_ipv4_header_with_its_checksum_sums_to_zero() {
        // The worked example that is in most textbooks: checksum b861.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(internet_checksum(&[&header]), 0);
    }

    #[test]
    fn an_odd_last_byte_counts_as_if_a_zero_followed() {
        assert_eq!(internet_checksum(&[&[1, 2], &[3]]), internet_checksum(&[&[1, 2, 3, 0]]));
    }
}
