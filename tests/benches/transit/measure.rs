//! Making flows, and measuring how long a frame takes.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_common::verdict::{Event, PassReason};
use lb_tests::{
    bench::Named as _,
    lab::cast::{Mac, NODE1},
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use thiserror::Error;

use super::{Transit, Way, conntrack, network};
use crate::rig::{
    Sink,
    stream::{FIRST_PORT, Order, Stream},
};

/// How much of what was sent a sink must have seen, as it ought to be.
const LEAST: f64 = 0.99;
/// What a client's address has of ports; a block of clients is that many flows.
pub const BLOCK: u32 = 1 << 14;
/// How many times a round is made whose frames were lost in part: a busy machine empties a device's ring too late.
const ATTEMPTS: u32 = 8;
/// How long what is under way may take to arrive.
const SETTLING: Duration = Duration::from_secs(2);
/// A call to find out how many frames a round is to have, and one that shows what a call costs by itself.
const TRIAL: u32 = 1 << 17;
const FEW: u32 = 64;
/// New flows in a round: so many that a peer's table of connections stays what it is on a busy node.
const NEW_FLOWS: u32 = 1 << 17;

/// A sink saw some of the frames, as they ought to be, and too few of them.
#[derive(Debug, Error)]
#[error(
    "{name}: of {sent} frames {expected} were seen {what}, and {others} others, in the last of {ATTEMPTS} rounds"
)]
struct Lost {
    name: String,
    what: String,
    sent: u32,
    expected: u64,
    others: u64,
}

/// Makes a round until its frames arrive.
fn undisturbed<T>(mut round: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match round() {
            Err(error) if error.is::<Lost>() => {}
            outcome => return outcome,
        }
    }
    round()
}

impl Transit {
    /// Makes the flows of the first blocks of clients established: an answer to each, and more after it.
    pub fn establish(&mut self, flows: u32) -> Result<()> {
        if !self.way.translates() {
            return Ok(());
        }
        let graduated = self.counter(Event::FlowGraduated as u32)?;
        self.far_end = None;
        self.rig.expect(&self.at_the_client())?;
        let near_end = self.rig.attach("count", self.network.client()?, "eth0")?;
        let mirror = self.rig.attach("reflect", self.network.sink()?, "eth0")?;
        // A block at a time, so that a flow's next packet comes soon.
        for block in 0..flows.div_ceil(BLOCK) {
            let stream = self.stream(block, flows.min(BLOCK), Order::Ascending);
            self.rig.set_plan(&stream.plan()?)?;
            // UDP graduates with the third packet after an answer.
            for _ in 0..5 {
                undisturbed(|| self.answered_round(&stream))?;
            }
        }
        if let Some(before) = graduated {
            self.graduate(before, flows)?;
        }
        drop((near_end, mirror));
        self.next_block = flows.div_ceil(BLOCK);
        self.count_at_the_sink()
    }

    /// A frame of each flow, and an answer to it.
    fn answered_round(&mut self, stream: &Stream) -> Result<f64> {
        self.settle(u32::MAX)?;
        self.rig.forget_seen()?;
        self.send(stream, stream.flows)?;
        self.settle(stream.flows)?;
        self.require(stream.flows, "at the client, as answers")
    }

    /// Further rounds for flows that lost a frame, until all have graduated.
    fn graduate(&mut self, before: u64, flows: u32) -> Result<()> {
        let mut graduated = self.graduated_since(before)?;
        for _ in 0..ATTEMPTS {
            if graduated >= u64::from(flows) {
                break;
            }
            for block in 0..flows.div_ceil(BLOCK) {
                let stream = self.stream(block, flows.min(BLOCK), Order::Ascending);
                self.rig.set_plan(&stream.plan()?)?;
                undisturbed(|| self.answered_round(&stream))?;
            }
            graduated = self.graduated_since(before)?;
        }
        let name = self.name();
        ensure!(graduated == u64::from(flows), "{name}: of {flows} flows {graduated} graduated");
        Ok(())
    }

    fn graduated_since(&self, before: u64) -> Result<u64> {
        let now = self.counter(Event::FlowGraduated as u32)?;
        Ok(now.context("lb has a counter for it")? - before)
    }

    /// Sends frames of so many flows that were established, in no order, for about so long: nanoseconds a frame.
    pub fn established(&mut self, flows: u32, time: Duration) -> Result<f64> {
        let before = self.flows_begun()?;
        let declined = self.counter(PassReason::Declined as u32)?;
        let stream = self.stream(0, flows, Order::Scattered);
        self.rig.set_plan(&stream.plan()?)?;
        let frames = self.frames_for(&stream, time)?;
        let begun = Instant::now();
        let measured = undisturbed(|| self.measure(&stream, frames))?;
        let seconds = begun.elapsed().as_secs() + 2;
        if let (Some(before), Some(now)) = (before, self.flows_begun()?) {
            // Connections of the kernel's own come and go.
            ensure!(
                now <= before + before / 1_000,
                "{} flows were begun that should have been there",
                now - before
            );
        }
        if let (Some(before), Some(now)) = (declined, self.counter(PassReason::Declined as u32)?) {
            // One a second and flow keeps the neighbour alive by TC.
            let most = u64::from(flows) * seconds;
            ensure!(now - before <= most, "XDP left {} frames to TC", now - before);
        }
        Ok(measured)
    }

    /// Sends frames of flows that were never there: nanoseconds a frame.
    pub fn new_flows(&mut self) -> Result<f64> {
        undisturbed(|| self.round_of_new_flows())
    }

    fn round_of_new_flows(&mut self) -> Result<f64> {
        {
            let _inside = self.network.node()?.enter()?;
            conntrack::flush()?;
        }
        let before = self.flows_begun()?;
        let flows = NEW_FLOWS + BLOCK;
        let stream = self.stream(self.next_block, flows.next_power_of_two(), Order::Ascending);
        self.next_block += flows.next_power_of_two() / BLOCK;
        self.rig.set_plan(&stream.plan()?)?;
        let measured = self.measure(&stream, NEW_FLOWS)?;
        let made = self.rig.progress()?.made;
        if let (Some(before), Some(now)) = (before, self.flows_begun()?) {
            ensure!(
                now - before >= made * 99 / 100,
                "{}: of {made} frames only {} began a flow",
                self.name(),
                now - before
            );
        }
        Ok(measured)
    }

    /// Has frames of the first flows, that were established, sent by someone else, who tells how many it sent in which
    /// time: nanoseconds a frame.
    pub fn sent_by(
        &mut self,
        flows: u32,
        sender: impl FnOnce(&Offer) -> Result<(u64, Duration)>,
    ) -> Result<f64> {
        let stream = self.stream(0, flows, Order::Ascending);
        let template = stream.template.clone().build();
        let offer = Offer {
            interface: "eth0".to_owned(),
            next_hop: NODE1.mac,
            source: network::client(self.load.family, 0),
            destination: self.target(),
            ports: (FIRST_PORT, FIRST_PORT + u16::try_from(flows - 1)?),
            length: u16::try_from(template.len())?,
        };
        self.settle(u32::MAX)?;
        self.rig.forget_seen()?;
        let before = self.flows_begun()?;
        let (frames, elapsed) = {
            let _inside = self.network.client()?.enter()?;
            sender(&offer)?
        };
        let frames = u32::try_from(frames)?;
        self.settle(frames)?;
        let right = self.require(frames, "at the sink, as they ought to be")?;
        if let (Some(before), Some(now)) = (before, self.flows_begun()?) {
            ensure!(now <= before + before / 1_000, "flows were begun that should have been there");
        }
        Ok(elapsed.as_secs_f64() * 1e9 / right)
    }

    /// How many flows the node has begun: what `lb` counts, or the connections that its rules made.
    fn flows_begun(&self) -> Result<Option<u64>> {
        if let Way::Peer(_) = self.way {
            let _inside = self.network.node()?.enter()?;
            return conntrack::count().map(Some);
        }
        self.counter(Event::FlowCreated as u32)
    }

    /// Frames that take about so long; found out once.
    fn frames_for(&mut self, stream: &Stream, time: Duration) -> Result<u32> {
        if self.frames == 0 {
            let by_itself = self.send(stream, FEW)?;
            let trial = self.send(stream, TRIAL)?.saturating_sub(by_itself);
            let frames = f64::from(TRIAL) * time.as_secs_f64() / trial.as_secs_f64().max(1e-6);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in bounds"
            )]
            let frames = frames.clamp(f64::from(TRIAL), f64::from(1 << 24)) as u32;
            self.frames = frames;
        }
        Ok(self.frames)
    }

    /// One round of the plan that is set.
    fn measure(&mut self, stream: &Stream, frames: u32) -> Result<f64> {
        self.settle(u32::MAX)?;
        self.rig.forget_seen()?;
        // A call prepares for some milliseconds: what one of few frames takes is not the frames'.
        let by_itself = self.send(stream, FEW)?;
        let elapsed = self.send(stream, frames)?.saturating_sub(by_itself);
        self.settle(frames + FEW)?;
        let right = self.require(frames + FEW, "at the sink, as they ought to be")?;
        Ok(elapsed.as_secs_f64() * 1e9 / right)
    }

    /// Fails unless a sink has seen nearly all frames, as expected. Returns how many.
    fn require(&self, sent: u32, what: &str) -> Result<f64> {
        let seen = self.rig.seen(Sink::Count)?;
        let name = self.name();
        #[expect(clippy::cast_precision_loss, reason = "frames of a second")]
        let right = seen.expected as f64;
        if right >= LEAST * f64::from(sent) {
            return Ok(right);
        }
        let (expected, others) = (seen.expected, seen.others);
        ensure!(expected > 0, "{name}: of {sent} frames none was seen {what}, and {others} others");
        ensure!(
            expected > others,
            "{name}: of {sent} frames {expected} were seen {what}, and {others} others"
        );
        Err(Lost { name, what: what.to_owned(), sent, expected, others }.into())
    }

    fn send(&self, stream: &Stream, frames: u32) -> Result<Duration> {
        let _one_processor = OneProcessor::keep()?;
        let _inside = self.network.client()?.enter()?;
        self.rig.generate(if_nametoindex("eth0")?, stream.length(), frames)
    }

    /// Waits until the sink has seen as much, or sees no more.
    fn settle(&self, frames: u32) -> Result<()> {
        let deadline = Instant::now() + SETTLING;
        let mut last = (u64::MAX, Instant::now());
        while Instant::now() < deadline {
            let seen = self.rig.seen(Sink::Count)?;
            let seen = seen.expected + seen.others;
            if seen >= u64::from(frames) {
                break;
            }
            if seen != last.0 {
                last = (seen, Instant::now());
            } else if last.1.elapsed() > Duration::from_millis(20) {
                break;
            }
            thread::sleep(Duration::from_millis(1)); // tidy: polls with a deadline
        }
        Ok(())
    }
}

/// What someone else is to send: UDP from one client to a service.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Out of this interface.
    pub interface: String,
    /// To this link-layer address.
    pub next_hop: Mac,
    /// The client.
    pub source: IpAddr,
    /// The service.
    pub destination: SocketAddr,
    /// The client's ports, from the first to the last.
    pub ports: (u16, u16),
    /// Bytes of a frame, without its checksum.
    pub length: u16,
}

/// The calling thread stays on one processor while this lives: generator, node and sink share it.
struct OneProcessor(CpuSet);

impl OneProcessor {
    fn keep() -> Result<Self> {
        let us = Pid::from_raw(0);
        let before = sched_getaffinity(us).context("asking for this thread's processors")?;
        let mut last = CpuSet::new();
        let number = (0..CpuSet::count()).rev().find(|&cpu| before.is_set(cpu).unwrap_or(false));
        last.set(number.context("this thread has no processor")?)?;
        sched_setaffinity(us, &last).context("keeping to one processor")?;
        Ok(Self(before))
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}
