//! What a frame costs as services become many: `lb` against itself with one service, and the peers beside
//! it as far as their rules load in reasonable time.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::{
    bench::{Better, Cell, Chart, Context, Figure, Named, Report, Section, peers::Peer},
    lab::cast::Family,
};

use crate::transit::{Front, Load, Transit, Way, network::setup};

/// How far from the cost with one service the cost with many may be.
const FLAT: f64 = 1.1;
/// Flows that are there.
const FLOWS: u32 = 1 << 12;

/// A node with so many services.
struct Case {
    services: u32,
    transit: Transit,
}

impl Named for Case {
    fn name(&self) -> String {
        format!("{}, {} services", self.transit.way().text(), self.services)
    }
}

/// Runs the benchmark.
pub fn run(context: &Context) -> Result<Report> {
    let sizes: &[u32] = if context.quick { &[1, 1_000] } else { &[1, 1_000, 10_000, 100_000] };
    let mut report = Report::new("scale", "What a packet costs among many services");
    report.setting("frames", "UDP in IPv4, 64 bytes; generator, node and sink on one processor");
    report.setting(
        "services",
        "one endpoint each; frames go to as many of them as there are, up to 4,096",
    );
    established(context, sizes, &mut report)?;
    new_flows(context, sizes, &mut report)?;
    report.note(
        "Nanoseconds beyond the floor, frames that the node drops where they come in. What a packet \
         executes does not depend on how many services there are: the same instructions, the same \
         number of look-ups. What differs is whether the memory that they touch is in the cache.",
    );
    Ok(report)
}

fn load(services: u32) -> Result<Load> {
    // The greatest power of two that there are, and no more than flows.
    let asked = (1 << services.ilog2()).min(FLOWS);
    Ok(Load {
        family: Family::V4,
        setup: setup(Family::V4, services, 1)?,
        front: Front::Cluster(asked),
    })
}

fn build(context: &Context, way: Way, services: u32) -> Result<Case> {
    context.check()?;
    let _building = context.spinner(&format!("{}, {services} services", way.text()));
    Ok(Case { services, transit: Transit::new(way, &load(services)?)? })
}

fn time(context: &Context) -> Duration {
    Duration::from_millis(if context.quick { 100 } else { 400 })
}

fn established(context: &Context, sizes: &[u32], report: &mut Report) -> Result<()> {
    let mut cases = vec![build(context, Way::Floor, 1)?];
    for way in [Way::LbXdp, Way::LbTc] {
        for &services in sizes {
            let mut case = build(context, way, services)?;
            case.transit.establish(FLOWS)?;
            cases.push(case);
        }
    }
    let what = "Established flows, 4,096 of them";
    let figures = context
        .interleave(what, &mut cases, |case| case.transit.established(FLOWS, time(context)))?;
    table(report, what, &cases, &figures, &[Way::LbXdp, Way::LbTc], sizes)
}

fn new_flows(context: &Context, sizes: &[u32], report: &mut Report) -> Result<()> {
    let ways = [Way::LbXdp, Way::LbTc, Way::Peer(Peer::Nftables), Way::Peer(Peer::Iptables)];
    let mut cases = vec![build(context, Way::Floor, 1)?];
    for way in ways {
        let most = if matches!(way, Way::Peer(_)) { 10_000 } else { u32::MAX };
        // One service has one endpoint here, and the node 64,000 ports towards it: too few for new
        // flows all the time.
        for &services in sizes.iter().filter(|&&services| services > 1 && services <= most) {
            cases.push(build(context, way, services)?);
        }
    }
    let what = "A new flow with every packet";
    let figures = context.interleave(what, &mut cases, |case| case.transit.new_flows())?;
    table(report, what, &cases, &figures, &ways, &sizes[1..])
}

fn table(
    report: &mut Report,
    what: &str,
    cases: &[Case],
    figures: &[Figure],
    ways: &[Way],
    sizes: &[u32],
) -> Result<()> {
    let floor = figures.first().context("there is no floor")?;
    let marginal = |way: Way, services: u32| {
        let mut both = cases.iter().zip(figures).skip(1);
        let found = both.find(|(case, _)| case.transit.way() == way && case.services == services);
        found.map(|(_, figure)| figure.less(floor))
    };
    let columns: Vec<_> = ways.iter().map(|way| way.text()).collect();
    let mut section = Section::new(what, "ns beyond the floor", Better::Lower, &columns)
        .chart(Chart::Lines { x: "services".to_owned() });
    for &services in sizes {
        let cells =
            ways.iter().map(|&way| marginal(way, services).map_or(Cell::Absent, Cell::from));
        section.row(services, cells.collect());
    }
    report.section(section);
    let (Some(&fewest), Some(&most)) = (sizes.first(), sizes.last()) else {
        return Ok(());
    };
    for &way in ways.iter().filter(|way| !matches!(way, Way::Peer(_))) {
        if let (Some(few), Some(many)) = (marginal(way, fewest), marginal(way, most)) {
            let ratio = many.ratio(&few);
            report.mark(
                &format!("{what}: {}, {most} services against {fewest}", way.text()),
                "within 10 %",
                format!("{ratio:.2} ×"),
                ratio <= FLAT,
            );
        }
    }
    Ok(())
}
