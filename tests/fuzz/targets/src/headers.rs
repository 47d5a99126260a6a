//! What may stand between an IP header and a segment: IPv4 options, IPv6 extension headers.

use lb_tests::{
    lab::cast::{Family, OUTSIDE},
    packet::internet_checksum,
};

use crate::{
    packet::{hook, send, world},
    traffic::request,
    world::{Front, POD, TRANSPORTS},
};

/// Where the packet comes by, which packet, and the number of the first header.
const HEAD: usize = 3;

const ETHERNET: usize = 14;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// The most that an IPv4 header has room for.
const MOST_OPTIONS: usize = 40;

/// Puts what follows the head between the IP header and the segment of a request, twice: the second
/// packet meets the flow of the first.
pub fn check(bytes: &[u8]) {
    let Some((head, headers)) = bytes.split_first_chunk::<HEAD>() else { return };
    let [at, which, first] = *head;
    let family = Family::BOTH[usize::from(which & 1)];
    let l4 = TRANSPORTS[usize::from(which >> 1 & 1)];
    let (client, front) =
        if which & 4 == 0 { (POD, Front::Cluster) } else { (OUTSIDE, Front::Node) };
    let frame = request(family, l4, client, front).build();
    let frame = match family {
        Family::V4 => with_options(&frame, headers),
        Family::V6 => with_extensions(&frame, first, headers),
    };
    let world = world();
    for _ in 0..2 {
        send(&world, hook(at), &frame);
    }
}

fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let (header, segment) = frame.split_at(ETHERNET + V4_HEADER);
    let mut frame = header.to_vec();
    frame.extend(&options[..options.len().min(MOST_OPTIONS) / 4 * 4]);
    let words = u8::try_from((frame.len() - ETHERNET) / 4).unwrap_or(u8::MAX);
    frame[ETHERNET] = 0x40 | words;
    let end = frame.len();
    frame.extend(segment);
    let length = u16::try_from(frame.len() - ETHERNET).unwrap_or(u16::MAX);
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length.to_be_bytes());
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let checksum = internet_checksum(&[&frame[ETHERNET..end]]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn with_extensions(frame: &[u8], first: u8, headers: &[u8]) -> Vec<u8> {
    let (header, segment) = frame.split_at(ETHERNET + V6_HEADER);
    let mut frame = [header, headers, segment].concat();
    let length = u16::try_from(headers.len() + segment.len()).unwrap_or(u16::MAX);
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    frame[ETHERNET + 6] = first;
    frame
}
