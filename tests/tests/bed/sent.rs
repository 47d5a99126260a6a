//! What became of a packet, and what the programs counted meanwhile.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use lb_common::verdict::COUNTER_INFO;
use lb_tests::packet::{Packet, keep_frames};

use super::{At, Bed};

/// The actions of the kernel that the programs answer with (`linux/bpf.h`, `linux/pkt_cls.h`).
pub mod action {
    pub const XDP_DROP: i32 = 1;
    pub const XDP_PASS: i32 = 2;
    pub const XDP_TX: i32 = 3;
    pub const XDP_REDIRECT: i32 = 4;
    pub const TC_UNSPEC: i32 = -1;
    pub const TC_SHOT: i32 = 2;
    pub const TC_REDIRECT: i32 = 7;
}

/// How much longer than a packet its answer may be.
const ANSWER: usize = 64;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The program's answer.
    pub action: i32,
    /// The packet before.
    pub before: Vec<u8>,
    /// The packet afterwards.
    pub frame: Vec<u8>,
    /// Each counter's increase, where there is one.
    pub counted: BTreeMap<u32, u64>,
}

impl Sent {
    /// Panics unless this is the answer, these are the bytes, and each of these counters and no other
    /// went up by one.
    #[track_caller]
    pub fn is(&self, action: i32, packet: &Packet, counted: &[u32]) {
        let frame = packet.build();
        let expected: BTreeMap<u32, u64> = counted.iter().map(|index| (*index, 1)).collect();
        if (self.action, &self.frame, &self.counted) != (action, &frame, &expected) {
            let frames: [(&str, &[u8]); 3] =
                [("sent", &self.before), ("became", &self.frame), ("expected", &frame)];
            panic!(
                "the action is {}, expected {action}; counted {:?}, expected {:?}\n{}",
                self.action,
                named(&self.counted),
                named(&expected),
                keep_frames(&frames)
            );
        }
    }
}

/// The same with names.
pub fn named(counters: &BTreeMap<u32, u64>) -> BTreeMap<&'static str, u64> {
    let name = |index: u32| COUNTER_INFO.iter().find(|info| info.index == index);
    counters.iter().map(|(at, count)| (name(*at).map_or("?", |info| info.name), *count)).collect()
}

impl Bed {
    /// Puts a packet through a program.
    #[track_caller]
    pub fn send(&self, at: At, packet: &Packet) -> Sent {
        self.try_send(at, &packet.build()).expect("a test run")
    }

    fn try_send(&self, at: At, frame: &[u8]) -> Result<Sent> {
        let before = self.counters()?;
        let mut out = vec![0; frame.len() + ANSWER];
        let ran = self.run(at, frame, &mut out)?.context("the kernel refused the packet")?;
        out.truncate(ran.len);
        let counted = self
            .counters()?
            .into_iter()
            .map(|(index, count)| (index, count - before.get(&index).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        Ok(Sent { action: ran.action, before: frame.to_vec(), frame: out, counted })
    }

    /// All counters that aren't 0.
    pub fn counters(&self) -> Result<BTreeMap<u32, u64>> {
        let mut counters = BTreeMap::new();
        for info in COUNTER_INFO {
            match self.tables.counter(info.index)? {
                0 => {}
                count => drop(counters.insert(info.index, count)),
            }
        }
        Ok(counters)
    }
}
