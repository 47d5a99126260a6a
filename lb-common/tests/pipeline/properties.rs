//! Properties over arbitrary packets, clients and changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    addr::{Address as _, Ipv4, Ipv6},
    checksum::{Delta, Sum},
    verdict::{PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, Mac, NODE1, OUTSIDE},
    packet::{Endpoints, Packet, arbitrary, checksums_ok, internet_checksum},
};
use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner,
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, between, carrying, tuple},
    world::{Front, LOCAL, POD, REMOTE, SNAT_PORTS, TRANSPORTS, World},
};

const HOOKS: [At; 5] = [POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP];

fn hook() -> impl Strategy<Value = At> {
    (select(HOOKS.to_vec()), prop_oneof![Just(0), any::<u32>()])
        .prop_map(|(at, segment_payload)| At { segment_payload, ..at })
}

/// Addresses and ports that the tables know, so that most packets get far.
fn endpoints() -> Endpoints {
    let mut endpoints = Endpoints::cast();
    endpoints.ports.extend([Front::Node.socket(Family::V4).port(), SNAT_PORTS.first]);
    endpoints
}

proptest! {
    #[test]
    fn no_bytes_make_the_pipeline_panic(
        frames in vec((hook(), vec(any::<u8>(), 0..200)), 1..8),
    ) {
        let world = World::new(&[LOCAL, POD, REMOTE]);
        for (at, frame) in frames {
            world.send_frame(at, frame);
        }
    }

    #[test]
    fn no_packets_make_the_pipeline_panic_and_those_left_alone_are_left_whole(
        packets in vec((hook(), arbitrary(&endpoints()), 0..400u32), 1..16),
    ) {
        let mut world = World::new(&[LOCAL, POD, REMOTE]);
        world.now = u32::MAX - 1_000;
        for (at, frame, later) in packets {
            world.now = world.now.wrapping_add(later);
            let sent = world.send_frame(at, frame.clone());
            match sent.outcome {
                Ok(Verdict::Pass(_)) | Err(_) => prop_assert_eq!(sent.frame, frame),
                Ok(Verdict::Answer(_)) => prop_assert!(checksums_ok(&sent.frame)),
                Ok(_) => prop_assert_eq!(checksums_ok(&sent.frame), checksums_ok(&frame)),
            }
        }
    }

    #[test]
    fn an_updated_checksum_is_the_one_from_scratch(
        before in vec(any::<u8>(), 0..40),
        replaced in (any::<u64>(), any::<u64>()),
        after in vec(any::<u8>(), 1..40),
    ) {
        // Something that isn't zero, as every header has: a sum of zero has two checksums.
        let version = 0x45;
        let data = |word: u64| {
            let mut data = vec![version, 0x10];
            data.extend(before.chunks_exact(2).flatten());
            data.extend(word.to_ne_bytes());
            data.extend(&after);
            data
        };
        let (old, new) = (data(replaced.0), data(replaced.1));
        let checksum = |data: &[u8]| u16::from_ne_bytes(internet_checksum(&[data]).to_be_bytes());
        let (old_sum, new_sum) = (Sum::of_long(replaced.0), Sum::of_long(replaced.1));
        let delta = Delta::replace(old_sum, new_sum);
        prop_assert_eq!(delta.apply(checksum(&old)), checksum(&new));
        prop_assert_eq!(delta.inverse().apply(checksum(&new)), checksum(&old));
        prop_assert_eq!(Sum::of_bytes(&new).checksum(), checksum(&new));

        let halves = Delta::replace(Sum::of_half(0), new_sum)
            .and(Delta::replace(old_sum, Sum::of_half(0)));
        prop_assert_eq!(halves.apply(checksum(&old)), checksum(&new));
    }

    #[test]
    fn there_and_back_is_the_identity(dialogue in dialogue()) {
        dialogue.check()?;
    }
}

/// Whether a frame ends with a payload; chunks of SCTP are padded to words.
fn ends_with(frame: &[u8], payload: &[u8]) -> bool {
    (0..4).any(|padding| frame[..frame.len() - padding].ends_with(payload))
}

fn is_routable(sender: IpAddr) -> bool {
    match sender {
        IpAddr::V4(sender) => Ipv4::from(sender).is_routable_source(),
        IpAddr::V6(sender) => Ipv6::from(sender).is_routable_source(),
    }
}

/// A client and what the two sides say.
#[derive(Clone, Debug)]
struct Dialogue {
    family: Family,
    l4: L4,
    client: SocketAddr,
    front: Front,
    backend: Host,
    /// Where the client's packets come in, and where the replies are translated if the stack
    /// carries them.
    hooks: (At, At),
    payloads: (Vec<u8>, Vec<u8>),
    flags: u8,
    key: [u64; 2],
}

fn dialogue() -> impl Strategy<Value = Dialogue> {
    let path = select(vec![
        ((POD_IN, POD_OUT), REMOTE),
        ((POD_IN, POD_OUT), LOCAL),
        ((UPLINK_IN, UPLINK_OUT), LOCAL),
        ((UPLINK_IN, UPLINK_OUT), REMOTE),
        ((XDP, UPLINK_OUT), LOCAL),
        ((XDP, UPLINK_OUT), REMOTE),
    ]);
    (
        (select(Family::BOTH.to_vec()), select(TRANSPORTS.to_vec())),
        (any::<u32>(), any::<u128>(), any::<u16>()),
        (select(Front::ALL.to_vec()), path),
        (vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..300)),
        (any::<u8>(), any::<[u64; 2]>()),
    )
        .prop_map(|((family, l4), client, (front, (hooks, backend)), payloads, (flags, key))| {
            let ip = match family {
                Family::V4 => IpAddr::from(Ipv4Addr::from(client.0)),
                Family::V6 => IpAddr::from(Ipv6Addr::from(client.1)),
            };
            let client = SocketAddr::new(ip, client.2);
            Dialogue { family, l4, client, front, backend, hooks, payloads, flags, key }
        })
        .prop_filter("a client that is nobody else", |dialogue| {
            let others = [NODE1, REMOTE, LOCAL].map(|host| host.ip(dialogue.family));
            !others.contains(&dialogue.client.ip()) && is_routable(dialogue.client.ip())
        })
}

impl Dialogue {
    fn world(&self) -> World {
        let mut world = World::new(&[self.backend]);
        world.tables.config.hash_key = self.key;
        let mut host = OUTSIDE;
        match self.client.ip() {
            IpAddr::V4(ip) => host.v4 = ip,
            IpAddr::V6(ip) => host.v6 = ip,
        }
        world.route(self.family, host, lb_common::pipeline::Route::Via);
        world
    }

    fn packet(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Packet {
        let packet = between(Packet::new(self.family), from, to).payload(payload);
        carrying(packet.macs(Mac([2; 6]), Mac([4; 6])), self.l4, self.flags)
    }

    /// The client's packet reaches the backend, and the backend's answer comes from exactly whom
    /// the client asked, both with every byte of their payloads; no other hook touches either.
    fn check(&self) -> Result<(), TestCaseError> {
        let world = self.world();
        let front = self.front.socket(self.family);
        let backend = self.backend.socket(self.family, 8080);

        let question = self.packet(self.client, front, &self.payloads.0).build();
        let asked = world.send_frame(self.hooks.0, question);
        let (source, destination) = asked.tuple();
        prop_assert_eq!(destination, backend);
        prop_assert!(ends_with(&asked.frame, &self.payloads.0));
        prop_assert!(checksums_ok(&asked.frame));
        self.check_other_hooks(&world, &asked.frame, None)?;

        let through_stack = asked.outcome == Ok(Verdict::Stack);
        prop_assert_eq!(through_stack, source == self.client);
        let back_at = if through_stack { self.hooks.1 } else { self.hooks.0 };
        let answer = self.packet(backend, source, &self.payloads.1).build();
        self.check_other_hooks(&world, &answer, Some(back_at))?;
        let answered = world.send_frame(back_at, answer);
        prop_assert_eq!(answered.tuple(), (front, self.client));
        prop_assert!(ends_with(&answered.frame, &self.payloads.1));
        prop_assert!(checksums_ok(&answered.frame));
        self.check_other_hooks(&world, &answered.frame, None)
    }

    fn check_other_hooks(
        &self,
        world: &World,
        frame: &[u8],
        right: Option<At>,
    ) -> Result<(), TestCaseError> {
        for at in HOOKS {
            if right.is_some_and(|right| right.hook == at.hook) {
                continue;
            }
            // Where clients' packets come in, one to a frontend begins a flow, whoever sent it.
            let fronts = Front::ALL.map(|front| front.socket(self.family));
            if fronts.contains(&tuple(frame).1) {
                continue;
            }
            let sent = world.send_frame(at, frame.to_vec());
            prop_assert_eq!(sent.outcome, Ok(Verdict::Pass(PassReason::NotOurs)));
            prop_assert_eq!(&sent.frame, frame);
        }
        Ok(())
    }
}

/// Otherwise the properties above would hold because nothing gets past the first questions.
#[test]
fn many_random_packets_are_translated() {
    let mut runner = TestRunner::deterministic();
    let world = World::new(&[LOCAL, POD, REMOTE]);
    let frames = arbitrary(&endpoints());
    let mut translated = 0;
    for _ in 0..4_000 {
        let frame = frames.new_tree(&mut runner).unwrap().current();
        let outcome = world.send_frame(UPLINK_IN, frame).outcome;
        translated += u32::from(matches!(outcome, Ok(Verdict::Stack | Verdict::Transmit(_))));
    }
    assert!(translated > 40, "{translated}");
}
