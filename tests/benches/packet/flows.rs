//! Making flows that last, by what makes them in life: requests, replies, and requests again, through the
//! programs at TC. They end up in the tables that evict nothing.

use anyhow::{Context as _, Result, ensure};
use lb_common::{verdict::Event, wire::L4};
use lb_tests::{bench::Context, lab::cast::Family, packet::flags};

use super::{
    bed::At,
    frames::{FIRST_SNAT_PORT, SNAT_PORTS, Side, Talk, servers},
    stand::{Entries, STACK, Stand, TRANSMIT},
};
use crate::rig::stream::Order;

/// How many flows are made at a time: few enough that the table for new flows evicts none of them.
const AT_A_TIME: u32 = 1 << 14;
/// How many requests of a UDP client must follow the first reply before one lets the flow graduate.
const UDP_REQUESTS: u32 = 3;

const CREATED: u32 = Event::FlowCreated as u32;
const GRADUATED: u32 = Event::FlowGraduated as u32;

/// Flows that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// The family.
    pub family: Family,
    /// The transport.
    pub l4: L4,
    /// Where the backends are.
    pub side: Side,
}

impl Stand<'_> {
    /// Makes flows `from` to `to`, where there are those before `from` already.
    pub fn make_flows(
        &mut self,
        context: &Context,
        population: Population,
        from: u32,
        to: u32,
    ) -> Result<()> {
        for first in (from..to).step_by(AT_A_TIME as usize) {
            context.check()?;
            let last = to.min(first + AT_A_TIME);
            self.make(population, to, first..last)
                .with_context(|| format!("making flows {first} to {last}: {population:?}"))?;
        }
        Ok(())
    }

    /// Makes some of `all` flows.
    fn make(
        &mut self,
        population: Population,
        all: u32,
        range: std::ops::Range<u32>,
    ) -> Result<()> {
        let Population { family, l4, side } = population;
        let request = Talk::requests(family, l4, side);
        let last = if l4 == L4::Udp {
            self.begin(request, all, range.clone())?;
            self.send(request.replies(), all, range.clone(), None)?;
            for _ in 0..UDP_REQUESTS {
                self.send(request, all, range.clone(), None)?;
            }
            request
        } else {
            self.begin(request.with(flags::SYN), all, range.clone())?;
            self.send(request.replies().with(flags::SYN_ACK), all, range.clone(), None)?;
            request.with(flags::ACK)
        };
        self.send(last, all, range, Some(GRADUATED))
    }

    /// Sends the first packets. For flows that leave this node, which port each gets isn't left to the hash: the
    /// replies' frames are made by counting. One flow to each service is begun while there is one port only.
    fn begin(&mut self, talk: Talk, all: u32, range: std::ops::Range<u32>) -> Result<()> {
        let servers = servers(talk.side, all);
        if servers == 1 && talk.side == Side::Here {
            return self.send(talk, all, range, Some(CREATED));
        }
        for first in range.step_by(servers as usize) {
            let port = FIRST_SNAT_PORT + u16::try_from(first / servers)?;
            self.set_snat_ports(port, 1);
            self.send(talk, all, first..first + servers, Some(CREATED))?;
        }
        self.set_snat_ports(FIRST_SNAT_PORT, SNAT_PORTS);
        Ok(())
    }

    /// Sends a packet of each flow, at which something may happen to each.
    fn send(
        &mut self,
        talk: Talk,
        all: u32,
        range: std::ops::Range<u32>,
        event: Option<u32>,
    ) -> Result<()> {
        let (at, counter) = way(self, talk);
        let count = range.end - range.start;
        let frames = talk.frames(all, Order::Ascending)?;
        let mut expected = vec![(counter, u64::from(count))];
        expected.extend(event.map(|event| (event, u64::from(count))));
        let lb = self.lb(at)?;
        self.put(at, &lb, &frames, (range.start.into(), count), &expected)?;
        Ok(())
    }

    /// Fails unless the tables hold so many lasting flows of each family, and no others.
    pub fn ensure_flows(&self, each_family: u32) -> Result<()> {
        let two_halves = 2 * each_family as usize;
        let expected = Entries { new: 0, v4: two_halves, v6: two_halves };
        let entries = self.entries()?;
        ensure!(entries == expected, "the flow tables have {entries:?} instead of {expected:?}");
        Ok(())
    }
}

/// Where packets are seen at TC, and what is counted there.
fn way(stand: &Stand<'_>, talk: Talk) -> (At, u32) {
    use crate::rig::stream::Direction;
    let world = &stand.bed.world;
    match (talk.side, talk.direction) {
        (Side::Elsewhere, _) => (world.uplink_in(), TRANSMIT),
        (_, Direction::Request) => (world.uplink_in(), STACK),
        (_, Direction::Reply) => (world.uplink_out(), STACK),
    }
}
