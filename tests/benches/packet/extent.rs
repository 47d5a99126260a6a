//! How much is measured: packets, flows, and the sizes of the tables.

use lb_tests::{
    bench::{Context, Report},
    lab::cast::Family,
};
use lb_userspace::dataplane::Sizes;

use super::{
    bed,
    case::{Case, Path, Subject},
};
use crate::rig::Hook;

/// How many new flows a call begins at the most: more than the table for them holds.
const MOST_MISSES: u32 = 1 << 17;
/// Room for the services.
const TABLES: Sizes = Sizes { services: 1 << 10, backends: 1 << 10, ..bed::SIZES };
/// Tables in which one flow and some new ones are all there is.
pub const SMALL: Sizes = Sizes { new_flows: 1 << 12, flows: 1 << 12, ..TABLES };

/// Tables for many flows, as large as they are by default, or so large that these are half of what fits.
pub fn sizes(flows: u32) -> Sizes {
    let default = Sizes::default();
    let flows = default.flows.max(4 * flows);
    Sizes { new_flows: default.new_flows, flows, ..TABLES }
}

/// How much is measured.
pub struct Extent {
    /// Calls in a round, where everything is in the cache.
    pub calls: u32,
    /// Packets in a call.
    pub packets: u32,
    /// Packets in a round that is spread over flows.
    pub spread_packets: u32,
    /// The least of new flows in a round.
    pub misses: u32,
    /// Over how many flows packets are spread.
    pub spread: &'static [u32],
}

impl Extent {
    /// What was asked for.
    pub fn of(context: &Context) -> Self {
        const SPREAD: [u32; 4] = [1 << 10, 1 << 14, 1 << 17, 1 << 20];
        Self {
            calls: if context.quick { 1 } else { 3 },
            packets: 100_000,
            spread_packets: if context.quick { 100_000 } else { 300_000 },
            misses: if context.quick { 1 << 12 } else { 1 << 15 },
            spread: if context.quick { &SPREAD[..2] } else { &SPREAD[..] },
        }
    }

    /// A path of `lb`. Each packet of a call that misses begins a flow.
    pub fn case(&self, place: Hook, family: Family, path: Path, flows: u32) -> Case {
        let (calls, packets) = match path {
            Path::Miss => (self.misses.div_ceil(flows), flows.min(MOST_MISSES)),
            // What comes in no order goes on where it was: calls of their own would add nothing.
            _ if flows > 1 => (1, self.spread_packets),
            _ => (self.calls, self.packets),
        };
        Case { subject: Subject::Lb, place, family, path, flows, calls, packets, made: 0 }
    }

    /// Says it in a report.
    pub fn describe(&self, report: &mut Report) {
        let Self { calls, packets, spread_packets, misses, spread } = self;
        report.setting("frames", "UDP, 64 bytes; TCP over IPv6: 80");
        report.setting(
        "packets a round",
        format!(
            "one flow: {calls} calls of {packets}, without the fastest and the slowest call if there are \
             more than two; spread: {spread_packets}; misses: {misses}, or one a flow"
        ),
    );
        let table = |flows: u32| format!("{} at {} flows", sizes(flows).flows, short(flows));
        report.setting(
            "entries for lasting flows",
            format!(
                "{} with one flow; {}; two a flow, in each family",
                SMALL.flows,
                spread.iter().map(|flows| table(*flows)).collect::<Vec<_>>().join(", ")
            ),
        );
        let new_flows = sizes(1).new_flows;
        report.setting(
        "entries for new flows",
        format!(
            "{} with one flow, else {new_flows}; two a flow: beyond {} misses each evicts others",
            SMALL.new_flows,
            new_flows / 2
        ),
    );
        report.note(
        "Figures are what a packet takes in the program by BPF_PROG_TEST_RUN, less what a program that does \
         nothing takes in its place. A harness writes a fresh frame for each packet and goes over to either. \
         Every packet is checked, by the programs' counters, to have taken the path that its row names.",
    );
        report.note(
        "Once in a second a packet of a flow renews its age, and one that is sent on goes to TC for the \
         kernel's neighbour table: that packet is not measured here.",
    );
    }
}

/// 16,384 as 16K.
pub fn short(flows: u32) -> String {
    if flows < 1 << 20 { format!("{}K", flows >> 10) } else { format!("{}M", flows >> 20) }
}
