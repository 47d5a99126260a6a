//! The kernel's programs and the host's pipeline, side by side.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use lb_common::{
    addr::Address,
    host::{HostPacket, HostTables},
    pipeline::{self, Generation},
    tables::{AffinityKey, Flow, FlowKey, Remembered, Sample},
    verdict::{DropReason, Event, Verdict},
};
use lb_tests::packet::{describe, keep_frames_of};
use lb_userspace::{
    compile::Desired,
    dataplane::{Events, Sizes},
};

use crate::bed::{
    At, Bed, Entry, Point, SIZES,
    sent::{action, named},
};

/// The longest frame that is sent.
const ROOM: usize = 4096;

/// Bytes of the shortest frame that both kinds of programs can be run on.
const ETHERNET: usize = 14;

/// Room for every flow and fragment: were one evicted in the kernel, the two would differ.
const LARGE: Sizes =
    Sizes { new_flows: 1 << 18, flows: 1 << 18, clients: 1 << 18, held: 1 << 15, ..SIZES };

type Outcome = Result<Verdict, DropReason>;

/// Both, with the same in their tables.
pub struct Pair {
    pub bed: Entry,
    pub host: HostTables,
    /// Packets that went through both.
    pub compared: u64,
    /// Packets that the kernel did not take.
    pub refused: u64,
    seed: u32,
    out: Vec<u8>,
    events: Events,
}

impl Pair {
    pub fn new(seed: u32) -> Result<Self> {
        let bed = Bed::with(&LARGE, |_| Ok(()))?;
        let mut host = bed.mirror()?;
        // Everything is told.
        bed.tables.set_sample_events(1);
        host.config.sample_events = 1;
        let events = bed.events()?;
        let out = vec![0; ROOM];
        Ok(Self { bed, host, compared: 0, refused: 0, seed, out, events })
    }

    /// Makes both tables say what is desired.
    pub fn apply(&mut self, desired: &Desired) -> Result<()> {
        self.bed.apply(desired)?;
        self.bed.mirror_services(&mut self.host)
    }

    /// Makes cached ways out stale.
    pub fn move_epoch(&mut self) {
        self.bed.tables.move_epoch();
        self.host.config.epoch += 1;
    }

    /// Puts a frame through both and compares what became of it.
    pub fn send(&mut self, point: Point, frame: &[u8]) -> Result<()> {
        let at = self.bed.world.at(point);
        // A frame that is no frame isn't a packet in the kernel.
        let ran = match frame.len() {
            ETHERNET.. => self.bed.run(at, frame, &mut self.out)?,
            _ => None,
        };
        let Some(ran) = ran else {
            ensure!(is_incomplete(point, frame), "the kernel refused {}", describe(frame));
            self.refused += 1;
            return Ok(());
        };
        self.compared += 1;
        let (outcome, bytes) = self.on_host(at, frame);
        let counter = match outcome {
            // Not counted; what came in again behind it is.
            Ok(Verdict::Again) => Event::FragmentReleased as u32,
            Ok(verdict) => verdict.counter(),
            Err(reason) => reason as u32,
        };
        let count = self.bed.tables.counter(counter)?;
        let on_host = self.host.counter(counter);
        let (told, told_by_host) = (self.told()?, self.host.take_told());
        ensure!(
            told == told_by_host,
            "kernel and host tell different things (seed {}, packet {}) at {at:?} of\n{}\n\
             host:   {told_by_host:?}\nkernel: {told:?}",
            self.seed,
            self.compared,
            describe(frame),
        );
        let expected = expected_action(at, outcome);
        let became = &self.out[..ran.len];
        if ran.action == expected && became == bytes && count == on_host {
            return Ok(());
        }
        let frames: [(&str, &[u8]); 3] = [("sent", frame), ("host", &bytes), ("kernel", became)];
        bail!(
            "kernel and host disagree (seed {}, packet {}) at {at:?}\n\
             host:   {outcome:?}, action {expected}\n\
             kernel: action {}, the outcome counted {count} times, by the host {on_host} times\n{}",
            self.seed,
            self.compared,
            ran.action,
            keep_frames_of(&format!("seed-{}", self.seed), &frames),
        )
    }

    /// What the kernel told of the packet, as if no time had gone by.
    fn told(&mut self) -> Result<Vec<Sample>> {
        let mut told = Vec::new();
        while let Some(sample) = self.events.read()? {
            told.push(Sample { time: 0, ..sample });
        }
        Ok(told)
    }

    fn on_host(&self, at: At, frame: &[u8]) -> (Outcome, Vec<u8>) {
        // What time it is plays no part: no age is renewed.
        let now = 1;
        let (hook, frame) = (at.point.hook(), frame.to_vec());
        if at.point == Point::Xdp {
            let mut packet = HostPacket::<false>::new(frame, at.ifindex);
            (pipeline::run(&mut packet, &self.host, hook, now), packet.frame)
        } else {
            let mut packet = HostPacket::<true>::new(frame, at.ifindex);
            // A test-run's packet came in nowhere.
            packet.own = true;
            (pipeline::run(&mut packet, &self.host, hook, now), packet.frame)
        }
    }

    /// All counters are the same, those of events included.
    pub fn counters_agree(&self) -> Result<()> {
        let (kernel, host) = (self.bed.counters()?, self.host.counters());
        ensure!(
            kernel == host,
            "counters differ (seed {})\nkernel {:?}\nhost   {:?}",
            self.seed,
            named(&kernel),
            named(&host)
        );
        for (backend, _) in self.bed.tables.backends() {
            let counted = self.bed.tables.counted_under(backend)?;
            let expected = self.host.backend_traffic(backend);
            ensure!(counted == expected, "backend {backend}: {counted:?}, host {expected:?}");
            let (load, on_host) = (self.bed.tables.load(backend), self.host.load(backend));
            ensure!(load == on_host, "backend {backend}: {load:?}, host {on_host:?}");
        }
        Ok(())
    }

    /// The same flows are in the same tables, with the same in them.
    pub fn flows_agree(&self) -> Result<()> {
        let tables = &self.bed.tables;
        let v4 = [tables.new_flows_v4.elements()?, tables.flows_v4.elements()?];
        self.same_flows(&v4, self.host.v4.flows())?;
        let v6 = [tables.new_flows_v6.elements()?, tables.flows_v6.elements()?];
        self.same_flows(&v6, self.host.v6.flows())
    }

    /// The same clients are remembered, with the same endpoints.
    pub fn affinity_agrees(&self) -> Result<()> {
        let (kernel, host) = (&self.bed.tables, &self.host);
        self.same_clients(&kernel.affinity_v4.elements()?, &host.v4.affinity.borrow())?;
        self.same_clients(&kernel.affinity_v6.elements()?, &host.v6.affinity.borrow())
    }

    fn same_clients<A: Address + Ord>(
        &self,
        kernel: &[(AffinityKey<A>, Remembered)],
        host: &BTreeMap<AffinityKey<A>, Remembered>,
    ) -> Result<()> {
        ensure!(!kernel.is_empty(), "no clients");
        let kernel: BTreeMap<_, _> =
            kernel.iter().map(|(key, client)| (*key, client.endpoint)).collect();
        let host: BTreeMap<_, _> = host.iter().map(|(key, one)| (*key, one.endpoint)).collect();
        ensure!(
            kernel == host,
            "clients differ (seed {})\nkernel {kernel:?}\nhost   {host:?}",
            self.seed
        );
        Ok(())
    }

    fn same_flows<A: Address + Ord>(
        &self,
        kernel: &[Vec<(FlowKey<A>, Flow<A>)>; 2],
        host: Vec<(FlowKey<A>, Generation, Flow<A>)>,
    ) -> Result<()> {
        let generations = [Generation::New, Generation::Established];
        let mut expected: BTreeMap<_, _> = host
            .into_iter()
            .map(|(key, generation, flow)| (key, (generation, Flow { last_seen: 0, ..flow })))
            .collect();
        for (table, generation) in kernel.iter().zip(generations) {
            ensure!(!table.is_empty(), "no flows in {generation:?}");
            for (key, flow) in table {
                let flow = (generation, Flow { last_seen: 0, ..*flow });
                let host = expected.remove(key);
                ensure!(
                    host == Some(flow),
                    "flows differ (seed {}) at {key:?}\nkernel {flow:?}\nhost   {host:?}",
                    self.seed
                );
            }
        }
        ensure!(expected.is_empty(), "only on the host (seed {}): {expected:?}", self.seed);
        Ok(())
    }
}

/// Whether a frame ends before its IP header does, where that keeps the kernel from running TC on it.
fn is_incomplete(point: Point, frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        None => return true,
        Some([0x08, 0x00]) => ETHERNET + 20,
        Some([0x86, 0xdd]) => ETHERNET + 40,
        // Nothing behind the frame's header.
        _ => ETHERNET + 1,
    };
    point != Point::Xdp && frame.len() < least
}

fn expected_action(at: At, outcome: Outcome) -> i32 {
    match (at.point, outcome) {
        (Point::Xdp, Ok(Verdict::Pass(_) | Verdict::Stack)) => action::XDP_PASS,
        (Point::Xdp, Ok(Verdict::Transmit(out))) if out == at.ifindex => action::XDP_TX,
        (Point::Xdp, Ok(Verdict::Transmit(_))) => action::XDP_REDIRECT,
        // XDP never resolves, answers, switches or holds, and nothing is left to a later stage in the end: no
        // action is right.
        (
            Point::Xdp,
            Ok(
                Verdict::Resolve(_)
                | Verdict::Inject(_)
                | Verdict::Answer(_)
                | Verdict::Switch
                | Verdict::Held
                | Verdict::Again,
            ),
        )
        | (_, Ok(Verdict::Later(_))) => i32::MIN,
        (Point::Xdp, Err(_)) => action::XDP_DROP,
        (Point::Tc(_), Ok(Verdict::Pass(_) | Verdict::Stack | Verdict::Switch)) => {
            action::TC_UNSPEC
        }
        (
            Point::Tc(_),
            Ok(
                Verdict::Transmit(_)
                | Verdict::Resolve(_)
                | Verdict::Inject(_)
                | Verdict::Answer(_),
            ),
        ) => action::TC_REDIRECT,
        // What goes on is a copy.
        (Point::Tc(_), Ok(Verdict::Held | Verdict::Again) | Err(_)) => action::TC_SHOT,
    }
}
