//! What is measured: a path at a place, or what is subtracted from it.

use anyhow::{Context as _, Result, ensure};
use lb_common::{
    hook,
    verdict::{Event, PassReason},
    wire::L4,
};
use lb_tests::{
    bench::{Context, Figure, Named},
    lab::cast::Family,
};

use super::{
    bed::{At, Point, sent::action},
    frames::{Clients, Side, Talk},
    stand::{STACK, Stand, TRANSMIT, hook as harness, middle},
};
use crate::rig::{Hook, stream::Order};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// No service's.
    NotOurs,
    /// A flow's, backend on this node: to the stack.
    Hit,
    /// The same with TCP.
    TcpHit,
    /// A flow's, backend elsewhere: source translated too, and sent on.
    Snat,
    /// The reply to such: translated back, and sent on.
    SnatReply,
    /// A reply from this node on its way out.
    Reply,
    /// Begins a flow, backend on this node.
    Miss,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotOurs,
        Self::Hit,
        Self::TcpHit,
        Self::Snat,
        Self::SnatReply,
        Self::Reply,
        Self::Miss,
    ];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOurs => "not ours",
            Self::Hit => "hit",
            Self::TcpHit => "hit, TCP",
            Self::Snat => "hit, SNAT, sent on",
            Self::SnatReply => "its reply, sent on",
            Self::Reply => "reply, leaving",
            Self::Miss => "miss",
        }
    }

    /// Where the backend is.
    pub const fn side(self) -> Side {
        match self {
            Self::NotOurs => Side::Nowhere,
            Self::Snat | Self::SnatReply => Side::Elsewhere,
            Self::Hit | Self::TcpHit | Self::Reply | Self::Miss => Side::Here,
        }
    }

    /// The frames.
    pub const fn talk(self, family: Family) -> Talk {
        let l4 = if let Self::TcpHit = self { L4::Tcp } else { L4::Udp };
        let talk = Talk::requests(family, l4, self.side());
        match self {
            Self::SnatReply | Self::Reply => talk.replies(),
            Self::Miss => Talk { clients: Clients::New, ..talk },
            _ => talk,
        }
    }

    /// Whose frames are made in the same way by the harness.
    const fn alike(self) -> Self {
        match self {
            Self::TcpHit | Self::Miss => self,
            _ => Self::Hit,
        }
    }

    /// What is counted for a packet.
    pub const fn counter(self) -> u32 {
        match self {
            Self::NotOurs => PassReason::NotOurs as u32,
            Self::Snat | Self::SnatReply => TRANSMIT,
            Self::Hit | Self::TcpHit | Self::Reply | Self::Miss => STACK,
        }
    }

    /// Where it is seen.
    pub fn at(self, stand: &Stand<'_>, place: Hook) -> Option<At> {
        let world = &stand.bed.world;
        match (self, place) {
            (Self::Reply, Hook::Xdp) => None,
            (Self::Reply, Hook::Tc) => Some(world.at(Point::Tc(hook::Hook::UplinkOut))),
            (_, Hook::Xdp) => Some(world.at(Point::Xdp)),
            (_, Hook::Tc) => Some(world.at(Point::Tc(hook::Hook::UplinkIn))),
        }
    }

    /// What the program answers there.
    pub fn action(self, stand: &Stand<'_>, place: Hook) -> i32 {
        match (self, place) {
            (Self::Snat | Self::SnatReply, Hook::Xdp) => stand.bed.world.out_of_eth0(),
            (Self::Snat | Self::SnatReply, Hook::Tc) => action::TC_REDIRECT,
            (_, Hook::Xdp) => action::XDP_PASS,
            (_, Hook::Tc) => action::TC_UNSPEC,
        }
    }
}

/// Which program the harness goes over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Ours.
    Lb,
    /// One that does nothing.
    Nothing,
    /// One that reads the flow's line of an array.
    Line,
}

/// One program with the frames of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The program.
    pub subject: Subject,
    /// XDP or TC.
    pub place: Hook,
    /// The family.
    pub family: Family,
    /// The frames, and what becomes of them.
    pub path: Path,
    /// Of how many flows they are.
    pub flows: u32,
    /// How many calls a round has.
    pub calls: u32,
    /// How many packets a call.
    pub packets: u32,
    /// How many there were before.
    pub made: u64,
}

impl Named for Case {
    fn name(&self) -> String {
        let Self { subject, place, family, path, .. } = self;
        let path = path.name();
        match subject {
            Subject::Lb => format!("{place:?} {family:?} {path}"),
            Subject::Nothing => format!("{place:?} {family:?} nothing ({path})"),
            Subject::Line => format!("{place:?} {family:?} one line"),
        }
    }
}

impl Case {
    /// What is to be subtracted.
    pub const fn floor(self) -> Self {
        Self { subject: Subject::Nothing, path: self.path.alike(), ..self }
    }

    /// Measures a round: nanoseconds a packet, the harness included.
    pub fn measure(&mut self, stand: &mut Stand<'_>) -> Result<f64> {
        let Self { subject, place, family, path, flows, calls, packets, .. } = *self;
        let at = path.at(stand, place).context("there is no such path at this hook")?;
        // Each misses once: in order. What is spread comes in none. Both go on where they were.
        let is_miss = path == Path::Miss;
        let order = if flows == 1 || is_miss { Order::Ascending } else { Order::Scattered };
        let frames = path.talk(family).frames(flows, order)?;
        let (name, counted) = match (subject, harness(at.point)) {
            (Subject::Lb, _) => (None, true),
            (Subject::Nothing, Hook::Xdp) => (Some("nothing_xdp"), false),
            (Subject::Nothing, Hook::Tc) => (Some("nothing_tc"), false),
            (Subject::Line, Hook::Xdp) => (Some("line_xdp"), false),
            (Subject::Line, Hook::Tc) => (Some("line_tc"), false),
        };
        let program = match name {
            Some(name) => stand.of_rig(name)?,
            None => stand.lb(at)?,
        };
        let action = if counted { path } else { Path::Hit }.action(stand, place);
        let mut expected = Vec::new();
        if counted {
            expected.push((path.counter(), u64::from(packets)));
        }
        if counted && is_miss {
            expected.push((Event::FlowCreated as u32, u64::from(packets)));
        }
        let mut took = Vec::new();
        for _ in 0..calls {
            let range = (self.made, packets);
            took.push(stand.time(at, &program, &frames, range, (action, &expected))?);
            self.made += u64::from(packets);
            if counted && is_miss {
                remove_misses(stand, family, packets)?;
            }
        }
        middle(took)
    }
}

/// Removes what misses have left. Fails if they evicted one another although there was room for them.
fn remove_misses(stand: &Stand<'_>, family: Family, packets: u32) -> Result<()> {
    let capacity = match family {
        Family::V4 => stand.bed.tables.new_flows_v4.capacity(),
        Family::V6 => stand.bed.tables.new_flows_v6.capacity(),
    };
    let removed = stand.remove_new(family)?;
    let all = 2 * packets as usize;
    ensure!(
        removed == all || all > capacity as usize / 2,
        "{packets} new flows left {removed} entries, although there is room for {capacity}"
    );
    Ok(())
}

/// Cases and what came out.
pub struct Measured {
    cases: Vec<Case>,
    figures: Vec<Figure>,
}

impl Measured {
    /// Measures the cases in turn, each with its floor.
    pub fn of(
        context: &Context,
        stand: &mut Stand<'_>,
        what: &str,
        cases: impl IntoIterator<Item = Case>,
    ) -> Result<Self> {
        let mut all: Vec<Case> = Vec::new();
        for case in cases {
            for case in [case.floor(), case] {
                if !all.contains(&case) {
                    all.push(case);
                }
            }
        }
        let named = all.clone();
        let figures = context.interleave(what, &mut all, |case| case.measure(stand))?;
        Ok(Self { cases: named, figures })
    }

    /// What a case took, less its floor. `None`: it wasn't measured.
    pub fn net(&self, case: Case) -> Option<Figure> {
        let figure = |case| {
            let at = self.cases.iter().position(|measured| *measured == case)?;
            self.figures.get(at)
        };
        Some(figure(case)?.less(figure(case.floor())?))
    }
}
