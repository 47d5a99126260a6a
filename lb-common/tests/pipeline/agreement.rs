//! XDP agrees with TC packet for packet: what it doesn't decline comes out as TC alone would have
//! made it, and what it declines comes out of TC as if XDP had never seen it.

use lb_common::{
    pipeline::Route,
    tables::{Device, Half},
    verdict::{PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, Host, OUTSIDE},
    packet::{Endpoints, arbitrary, flags},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    traffic::{UPLINK_IN, XDP, carrying, reply, request},
    world::{Front, LOCAL, POD, REMOTE, TRANSPORTS, UPLINK, World},
};

const OTHER: Host = cast::pod(2, 2);

/// What happens at a node, one after the other.
#[derive(Clone, Debug)]
enum Step {
    /// A client's packet.
    Ask { family: Family, l4: L4, port: u16, flags: u8, ttl: u8, payload: usize },
    /// The answer to a flow, by its number among all.
    Answer { family: Family, l4: L4, flow: prop::sample::Index, flags: u8 },
    /// Any frame.
    Any(Vec<u8>),
    /// Time goes by, in jiffies.
    Later(u32),
    /// A neighbour is known, or no longer known, or there is no route.
    Neighbour(Family, Host, Route),
    /// XDP can, or can't, send on the uplink.
    Transmit(bool),
    /// A backend is replaced.
    Replace(Family, L4, Host),
    /// All entries of a direction are evicted.
    Evict(Family, Half),
}

fn kind() -> impl Strategy<Value = (Family, L4)> {
    (select(Family::BOTH.to_vec()), select(TRANSPORTS.to_vec()))
}

fn tcp_flags() -> impl Strategy<Value = u8> {
    use flags::{ACK, FIN, RST, SYN, SYN_ACK};
    select(vec![SYN, SYN, SYN_ACK, ACK, ACK, FIN | ACK, RST])
}

fn step() -> impl Strategy<Value = Step> {
    let ask =
        (kind(), 40_000..40_004_u16, tcp_flags(), select(vec![64, 64, 64, 2, 1]), 0..1_600_usize)
            .prop_map(|((family, l4), port, flags, ttl, payload)| {
                // Most are short.
                let payload = if payload < 1_400 { payload % 9 } else { payload };
                Step::Ask { family, l4, port, flags, ttl, payload }
            });
    let answer = (kind(), any::<prop::sample::Index>(), tcp_flags())
        .prop_map(|((family, l4), flow, flags)| Step::Answer { family, l4, flow, flags });
    let route = select(vec![Route::Via, Route::Via, Route::Unresolved, Route::None]);
    let hosts = select(vec![REMOTE, OTHER, OUTSIDE]);
    prop_oneof![
        12 => ask,
        8 => answer,
        2 => arbitrary(&Endpoints::cast()).prop_map(Step::Any),
        2 => select(vec![1, 249, 250, 1_000]).prop_map(Step::Later),
        2 => (select(Family::BOTH.to_vec()), hosts, route)
            .prop_map(|(family, host, route)| Step::Neighbour(family, host, route)),
        1 => any::<bool>().prop_map(Step::Transmit),
        1 => (kind(), select(vec![LOCAL, REMOTE, OTHER]))
            .prop_map(|((family, l4), host)| Step::Replace(family, l4, host)),
        1 => (select(Family::BOTH.to_vec()), select(vec![Half::Forward, Half::Reverse]))
            .prop_map(|(family, half)| Step::Evict(family, half)),
    ]
}

/// Lets a change of the world happen, or returns the frame that comes in.
fn happen(world: &mut World, step: &Step) -> Option<Vec<u8>> {
    match step {
        Step::Ask { family, l4, port, flags, ttl, payload } => {
            let packet = carrying(request(*family, *l4, OUTSIDE, Front::Node), *l4, *flags);
            let packet = packet.ports(*port, Front::Node.socket(*family).port());
            return Some(packet.ttl(*ttl).payload(&vec![7; *payload]).build());
        }
        Step::Answer { family, l4, flow, flags } => {
            let mut entries = world.entries(*family);
            entries.retain(|entry| entry.forward);
            let asked = entries.get(flow.index(entries.len().max(1)))?.becomes;
            let packet = carrying(reply(*family, *l4, asked), *l4, *flags);
            return Some(packet.build());
        }
        Step::Any(frame) => return Some(frame.clone()),
        Step::Later(jiffies) => world.now += jiffies,
        Step::Neighbour(family, host, route) => {
            world.route(*family, *host, *route);
            world.tables.config.epoch += 1;
        }
        Step::Transmit(on) => {
            let uplink = world.tables.devices.get_mut(&UPLINK)?;
            uplink.flags = if *on { Device::XDP_TRANSMIT } else { 0 };
            world.tables.config.epoch += 1;
        }
        Step::Evict(family, half) => world.evict(*family, *half),
        Step::Replace(family, l4, host) => {
            let backend = world.backend(*host, *family, *l4);
            world.set_generation(*host, *family, *l4, backend.generation + 1);
            world.choose_from(Front::Node, *family, *l4, &[LOCAL, REMOTE, OTHER, POD]);
        }
    }
    None
}

/// The length that a frame's IP header says that it has.
fn said(frame: &[u8]) -> Option<usize> {
    let length =
        |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(14 + length(16)?),
        [0x86, 0xdd] => Some(14 + 40 + length(18)?),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn xdp_and_tc_agree_on_every_packet(steps in vec(step(), 1..60)) {
        let make = || World::new(&[LOCAL, REMOTE, OTHER, POD]);
        let (mut alone, mut both) = (make(), make());
        let mut is_cut_off = false;
        for step in &steps {
            let Some(frame) = happen(&mut alone, step) else {
                happen(&mut both, step);
                continue;
            };
            is_cut_off |= said(&frame).is_some_and(|said| said > frame.len());
            let expected = alone.send_frame(UPLINK_IN, frame.clone());
            let before = both.snapshot();
            let mut sent = both.send_frame(XDP, frame.clone());
            if sent.outcome == Ok(Verdict::Pass(PassReason::Declined)) {
                prop_assert_eq!(&sent.frame, &frame);
                prop_assert_eq!(both.snapshot(), before);
                sent = both.send_frame(UPLINK_IN, frame);
            }
            prop_assert_eq!((sent.outcome, &sent.counted), (expected.outcome, &expected.counted));
            prop_assert_eq!(sent.frame, expected.frame);
            let (mut both, mut alone) = (both.snapshot(), alone.snapshot());
            if is_cut_off {
                // Whose end is missing, or not in hand, XDP counts with it.
                both.forget_bytes();
                alone.forget_bytes();
            }
            prop_assert_eq!(both, alone);
        }
    }
}

#[test]
fn the_steps_above_reach_both_sides_of_the_agreement() {
    // Otherwise the property would hold because everything was declined, or nothing.
    let mut world = World::new(&[REMOTE]);
    let ask =
        Step::Ask { family: Family::V4, l4: L4::Tcp, port: 40_000, flags: 2, ttl: 64, payload: 0 };
    let frame = happen(&mut world, &ask).unwrap();
    assert_eq!(world.send_frame(XDP, frame.clone()).outcome, Ok(Verdict::Transmit(UPLINK)));
    happen(&mut world, &Step::Later(1_000));
    let declined = Ok(Verdict::Pass(PassReason::Declined));
    assert_eq!(world.send_frame(XDP, frame).outcome, declined);
}
