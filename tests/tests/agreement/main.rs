//! The kernel's programs and the host's pipeline are the same code in two builds. Here the same packets
//! go through both, over tables that say the same: the answers, the bytes, the counters and in the end
//! the flows must be the same too. Needs root.
//!
//! `pair` is the two side by side; `packets` makes the packets. What the right answer is does not belong
//! here: that is lb-common's tests and `test_run`.

#[path = "../bed/mod.rs"]
mod bed;

mod packets;
mod pair;

use std::{env, num::NonZero, panic, thread};

use anyhow::{Context as _, Result};
use lb_common::verdict::{COUNTER_INFO, DropReason, Event, Verdict};

use bed::{Backend, Point, sent::named, services::desired, world::POD};
use packets::Source;
use pair::Pair;

/// Random packets for each program, unless `LB_AGREEMENT_PACKETS` asks for more.
const PACKETS: u32 = 50_000;

/// Besides, so many packets of flows that exist follow so many random ones.
const ROUND: u32 = 1_000;

/// What random packets over these tables don't bring about: tables that are full, a node that doesn't
/// forward, a header that can be read and not written, so many flows that ports get scarce, events that nobody
/// reads, and what sockets do.
const NOT_EXPECTED: [u32; 13] = [
    Event::EventsLost as u32,
    DropReason::SourcePortsExhausted as u32,
    DropReason::FlowTableFull as u32,
    DropReason::ForwardingOff as u32,
    DropReason::Unwritable as u32,
    Event::GraduationFull as u32,
    Event::PortSearchLong as u32,
    Event::AnswerLimited as u32,
    DropReason::NoStage as u32,
    Event::AnotherTried as u32,
    Verdict::Switch.counter(),
    Event::SocketTranslated as u32,
    Event::BindRefused as u32,
];

#[test]
fn the_kernel_and_the_host_agree_on_random_packets_and_on_the_flows_that_they_make() -> Result<()> {
    let packets = match env::var("LB_AGREEMENT_PACKETS") {
        Ok(text) => text.parse().context("LB_AGREEMENT_PACKETS must be a number of packets")?,
        Err(_) => PACKETS,
    };
    // Each thread has tables and a namespace of its own.
    let threads = u32::try_from(thread::available_parallelism().map_or(1, NonZero::get))?;
    let share = packets.div_ceil(threads);
    thread::scope(|scope| {
        let started: Vec<_> =
            (0..threads).map(|seed| scope.spawn(move || agree(seed, share))).collect();
        started
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

/// `share` random packets for each program, and as many again of flows that exist.
fn agree(seed: u32, share: u32) -> Result<()> {
    let mut source = Source::new(seed);
    let mut pair = Pair::new(seed)?;
    let mut done = 0;
    while done < share {
        let round = ROUND.min(share - done);
        for _ in 0..round {
            for point in Point::ALL {
                pair.send(point, &source.random()?)?;
            }
        }
        source.learn(&pair.host);
        for _ in 0..round * 2 {
            if let Some((point, frame)) = source.of_a_flow()? {
                pair.send(point, &frame)?;
            }
        }
        done += round;
        pair.counters_agree()?;
        change(&mut pair, done / ROUND)?;
    }
    pair.flows_agree()?;
    pair.affinity_agrees()?;
    let counters = pair.bed.counters()?;
    eprintln!(
        "seed {seed}: {} packets compared, {} refused by the kernel: {:?}",
        pair.compared,
        pair.refused,
        named(&counters)
    );
    if share >= PACKETS / 8 {
        for info in COUNTER_INFO.iter().filter(|info| !NOT_EXPECTED.contains(&info.index)) {
            assert!(counters.contains_key(&info.index), "nothing brought about {}", info.name);
        }
    }
    Ok(())
}

/// Backends come and go, and cached ways out become stale.
fn change(pair: &mut Pair, rounds: u32) -> Result<()> {
    if rounds % 4 == 1 {
        pair.move_epoch();
    }
    if rounds % 8 == 2 {
        pair.apply(&desired(|backend| match backend {
            Backend::Several => Backend::Local.hosts(),
            Backend::Local | Backend::Elsewhere => vec![POD],
            Backend::Remote => vec![],
            other => other.hosts(),
        }))?;
    }
    if rounds % 8 == 6 {
        pair.apply(&desired(Backend::hosts))?;
    }
    Ok(())
}
