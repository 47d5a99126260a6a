//! Builder and reader against packets that Linux made, and against each other.
//!
//! The vectors were captured on a veth with checksum offload off, between two sockets with the
//! addresses of the cast.

use proptest::prelude::*;

use super::{Endpoints, Packet, arbitrary, checksums_ok, describe, flags};
use crate::lab::cast::{self, Family, NODE1, OUTSIDE};

/// `hello` over UDP.
const UDP_V4: &str = "020000000101 020000000010 0800 45000021 3db94000 40117907 c000020a c0000201 \
    9c407580 000d2635 68656c6c6f";
const UDP_V6: &str = "020000000101 020000000010 86dd 6002691b 000d1140 \
    20010db8000100000000000000000010 20010db8000100000000000000000001 \
    9c407580 000d4ebc 68656c6c6f";
/// A SYN with all the options that Linux sends.
const SYN_V4: &str = "020000000101 020000000010 0800 4500003c fff74000 4006b6b8 c000020a c0000201 \
    9c400050 80cd07cd 00000000 a002faf0 ec2b0000 020405b40402080ac180f628000000000103030a";
const SYN_V6: &str = "020000000101 020000000010 86dd 600f6e15 00280640 \
    20010db8000100000000000000000010 20010db8000100000000000000000001 \
    9c400050 84c54bea 00000000 a002fd20 17ec0000 020405a00402080a3a31300e000000000103030a";
/// The answer of a closed port.
const RESET_V4: &str = "020000000010 020000000101 0800 45000028 00004000 4006b6c4 c0000201 c000020a \
    00509c40 00000000 80cd07ce 50140000 06990000";
/// The answer of a closed UDP port.
const UNREACHABLE_V6: &str = "020000000010 020000000101 86dd 6008b22c 003d3a40 \
    20010db8000100000000000000000001 20010db8000100000000000000000010 0104c8b2 00000000 \
    6002691b 000d1140 20010db8000100000000000000000010 20010db8000100000000000000000001 \
    9c407580 000d4ebc 68656c6c6f";

/// Hexadecimal digits, with blanks anywhere.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// The builder makes the very bytes, and the reader finds nothing wrong with them.
fn check(packet: &Packet, expected: &str) {
    let expected = hex(expected);
    let built = packet.build();
    assert_eq!(built, expected, "\n{}\n{}", describe(&built), describe(&expected));
    assert!(checksums_ok(&expected), "{}", describe(&expected));
}

#[test]
fn udp_is_built_as_linux_sends_it() {
    let udp = |family| {
        Packet::new(family).from(OUTSIDE, 40_000).to(NODE1, 30_080).udp().payload(b"hello")
    };
    check(&udp(Family::V4).id(0x3db9), UDP_V4);
    check(&udp(Family::V6).flow_label(0x2_691b), UDP_V6);
}

#[test]
fn tcp_is_built_as_linux_sends_it() {
    let options = hex("020405b40402080ac180f628000000000103030a");
    let syn = Packet::ipv4().sequence(0x80cd_07cd, 0).tcp_options(&options).id(0xfff7);
    check(&syn, SYN_V4);

    let options = hex("020405a00402080a3a31300e000000000103030a");
    let syn = Packet::ipv6().sequence(0x84c5_4bea, 0).window(64_800).tcp_options(&options);
    check(&syn.flow_label(0xf_6e15), SYN_V6);

    let reset = Packet::ipv4().from(NODE1, 80).to(OUTSIDE, 40_000).tcp(flags::RST | flags::ACK);
    check(&reset.sequence(0, 0x80cd_07ce).window(0), RESET_V4);
}

#[test]
fn one_line_says_all_that_matters() {
    assert_eq!(
        describe(&hex(SYN_V4)),
        "02:00:00:00:00:10 > 02:00:00:00:01:01 192.0.2.10:40000 > 192.0.2.1:80 TCP [S] \
         seq 2160920525 ack 0 len 0 ttl 64 df, ip checksum right, tcp checksum right"
    );
    assert_eq!(
        describe(&hex(UNREACHABLE_V6)),
        "02:00:00:00:01:01 > 02:00:00:00:00:10 2001:db8:1::1 > 2001:db8:1::10 \
         ICMPv6 type 1 code 4 ttl 64, icmp checksum right"
    );
    let tagged = Packet::ipv6().service_vlan(7).vlan(9).udp().payload(b"x").build();
    assert_eq!(
        describe(&tagged),
        "02:00:00:00:00:10 > 02:00:00:00:01:01 vlan 7 vlan 9 \
         [2001:db8:1::10]:40000 > [2001:db8:1::1]:80 UDP len 1 ttl 64, udp checksum right"
    );
}

#[test]
fn a_flipped_bit_anywhere_that_a_checksum_covers_is_noticed() {
    for vector in [UDP_V4, UDP_V6, SYN_V4, SYN_V6, RESET_V4, UNREACHABLE_V6] {
        let good = hex(vector);
        // Nothing covers the link layer. In IPv6 nothing covers class, label and hop limit either, and
        // with another next header there is no checksum any more that could be wrong.
        let is_v6 = good[14] >> 4 == 6;
        let uncovered = |at: &usize| is_v6 && matches!(*at, 14..18 | 20 | 21);
        for at in (14..good.len()).filter(|at| !uncovered(at)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(!checksums_ok(&bad), "byte {at}: {}", describe(&bad));
        }
    }
}

#[test]
fn udp_may_go_without_a_checksum_over_ipv4_only() {
    let [v4, v6] = Family::BOTH.map(|family| Packet::new(family).udp_without_checksum().build());
    assert!(
        checksums_ok(&v4) && describe(&v4).contains("udp checksum absent"),
        "{}",
        describe(&v4)
    );
    assert!(
        !checksums_ok(&v6) && describe(&v6).contains("udp checksum WRONG"),
        "{}",
        describe(&v6)
    );
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_written_as_all_ones() {
    let make = |last: [u8; 2]| Packet::ipv4().udp().payload(&last).build();
    let checksum = |frame: &[u8]| u16::from_be_bytes([frame[40], frame[41]]);
    // Adding the checksum itself to what is summed makes the sum all ones.
    let frame = make(checksum(&make([0, 0])).to_be_bytes());
    assert_eq!(checksum(&frame), 0xffff);
    assert!(checksums_ok(&frame));
}

#[test]
fn options_extension_headers_and_fragments_are_walked() {
    let v4 = Packet::ipv4().ipv4_options(&[1; 8]).build();
    assert!(checksums_ok(&v4) && describe(&v4).contains("options 8"), "{}", describe(&v4));

    let v6 = Packet::ipv6().extension(0, &[0; 6]).extension(60, &[0; 14]).build();
    assert!(checksums_ok(&v6) && describe(&v6).contains("TCP [S]"), "{}", describe(&v6));

    for family in Family::BOTH {
        let first = describe(&Packet::new(family).udp().fragment(0, true, 7).build());
        assert!(first.contains("UDP") && first.contains("fragment 0+"), "{first}");
        let last =
            describe(&Packet::new(family).udp().payload(&[0; 9]).fragment(3, false, 7).build());
        assert!(last.contains("protocol 17 len 9") && last.contains("fragment 24"), "{last}");
    }
}

#[test]
fn cut_off_packets_are_said_to_be_so() {
    let whole = hex(UDP_V4);
    assert!(describe(&whole[..whole.len() - 1]).contains("cut off"));
    assert!(describe(&whole[..20]).contains("broken IPv4 header"));
    assert!(describe(&whole[..13]).contains("too short"));
    for length in 0..whole.len() {
        assert!(!checksums_ok(&whole[..length]), "{length}");
    }
}

/// Whether the bytes hold the cast's address of either family.
fn mentions_the_cast(frame: &[u8]) -> bool {
    let [outside, pod] = [OUTSIDE, cast::pod(1, 1)].map(|host| host.v4.octets());
    frame.windows(4).any(|window| window == outside || window == pod)
}

#[test]
fn random_packets_are_of_every_kind_and_mostly_sound() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = arbitrary(&Endpoints::cast());
    let frames: Vec<_> = (0..4_000)
        .map(|_| strategy.new_tree(&mut runner).expect("nothing is filtered").current())
        .collect();
    let lines: Vec<_> = frames.iter().map(|frame| describe(frame)).collect();
    for kind in [
        "TCP [S]",
        "TCP [S.]",
        "UDP",
        "ICMP",
        "protocol 132",
        "vlan",
        "options",
        "fragment",
        "cut off",
        "broken",
        "WRONG",
        "absent",
        "unknown",
        "too short",
        " df",
        "ttl 1,",
    ] {
        assert!(lines.iter().any(|line| line.contains(kind)), "none has {kind:?}");
    }
    let sound = frames.iter().filter(|frame| checksums_ok(frame)).count();
    assert!((2_000..3_600).contains(&sound), "{sound} of 4000 are sound");
    assert!(frames.iter().filter(|frame| mentions_the_cast(frame)).count() > 400);
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        describe(&bytes);
        checksums_ok(&bytes);
    }

    #[test]
    fn reading_random_packets_never_panics(frame in arbitrary(&Endpoints::cast())) {
        describe(&frame);
        checksums_ok(&frame);
    }
}
