//! ICMP messages about packets of flows: the message and what it quotes may be anything, its own checksum
//! is right, so that it gets as far as it can.

use lb_common::wire::L4;
use lb_tests::{
    lab::cast::{Family, OUTSIDE},
    packet::Packet,
};

use crate::{
    packet::{hook, send, world},
    traffic::{POD_IN, UPLINK_IN, request, tuple},
    world::{Front, POD, TRANSPORTS},
};

/// Where the message comes by, which flow, type, code, the rest of its header, how much is quoted.
const HEAD: usize = 9;

/// Begins flows, and sends a message past a hook that quotes a packet of one of them, as it was or as it
/// became, with its bytes changed by those that follow the message's head.
pub fn check(bytes: &[u8]) {
    let Some((head, changes)) = bytes.split_first_chunk::<HEAD>() else { return };
    let [at, which, kind, code, rest @ .., quoted] = *head;
    let world = world();
    let mut frames = Vec::new();
    for (family, l4, from_pod) in flows() {
        let (client, front, at) = if from_pod {
            (POD, Front::Cluster, POD_IN)
        } else {
            (OUTSIDE, Front::Node, UPLINK_IN)
        };
        let asked = request(family, l4, client, front).build();
        let became = send(&world, at, &asked);
        frames.push((family, asked));
        frames.push((family, became));
    }
    let (family, frame) = &frames[usize::from(which) % frames.len()];
    // Whoever got the packet tells who sent it.
    let (to, from) = tuple(frame);
    let mut about = frame[14..].to_vec();
    about.truncate(usize::from(quoted));
    for (byte, change) in about.iter_mut().zip(changes) {
        *byte ^= change;
    }
    about.extend(changes.iter().skip(about.len()));
    let from = if which & 0x80 == 0 { from.ip() } else { OUTSIDE.ip(*family) };
    let message = Packet::new(*family).addresses(from, to.ip()).icmp([kind, code], rest, &about);
    send(&world, hook(at), &message.build());
}

/// Each family and transport, from the pod and from the outside.
fn flows() -> impl Iterator<Item = (Family, L4, bool)> {
    Family::BOTH.into_iter().flat_map(|family| {
        TRANSPORTS
            .into_iter()
            .flat_map(move |l4| [false, true].map(|from_pod| (family, l4, from_pod)))
    })
}
