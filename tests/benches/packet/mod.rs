//! `packet`: what the programs cost a packet, by test-run, on every path.
//!
//! [`extent`] is how much is measured; [`services`] and [`frames`] are what is talked to, and how; [`flows`] makes
//! the flows; [`stand`] puts packets through the programs and checks which way they took; [`case`] is what is
//! timed; [`steps`] takes a hit apart.

#[path = "../../tests/bed/mod.rs"]
mod bed;
mod case;
mod extent;
mod flows;
mod frames;
mod services;
mod stand;
mod steps;

use anyhow::{Context as _, Result};
use lb_common::wire::L4;
use lb_tests::{
    bench::{Better, Cell, Chart, Context, Figure, Report, Section},
    lab::cast::Family,
};

use crate::rig::{Hook, Rig};
use case::{Case, Measured, Path, Subject};
use extent::{Extent, SMALL, short, sizes};
use flows::Population;
use frames::Side;
use stand::Stand;

/// Both hooks.
const PLACES: [Hook; 2] = [Hook::Xdp, Hook::Tc];
/// Every place and family, as columns.
const COLUMNS: [&str; 4] = ["XDP, IPv4", "XDP, IPv6", "TC, IPv4", "TC, IPv6"];
/// How many new flows a call begins when everything is to stay in the cache.
const HOT_MISSES: u32 = 1 << 10;

/// Measures.
pub fn run(context: &Context) -> Result<Report> {
    let extent = Extent::of(context);
    let most = extent.spread.last().copied().unwrap_or(1);
    let mut rig = Rig::load(most)?;
    let mut report = Report::new("packet", "What a packet costs in the programs");
    extent.describe(&mut report);
    hot(context, &mut rig, &extent, &mut report)?;
    spread(context, &mut rig, &extent, &mut report)?;
    Ok(report)
}

/// One flow of each kind: everything is in the cache.
fn hot(context: &Context, rig: &mut Rig, extent: &Extent, report: &mut Report) -> Result<()> {
    let mut stand = Stand::new(rig, &SMALL)?;
    for family in Family::BOTH {
        for (l4, side) in [(L4::Udp, Side::Here), (L4::Tcp, Side::Here), (L4::Udp, Side::Elsewhere)]
        {
            stand.make_flows(context, Population { family, l4, side }, 0, 1)?;
        }
    }
    stand.ensure_flows(3)?;
    let case = |place, family, path| {
        let flows = if path == Path::Miss { HOT_MISSES } else { 1 };
        extent.case(place, family, path, flows)
    };
    let cases: Vec<Case> = columns()
        .flat_map(|(place, family)| Path::ALL.map(|path| case(place, family, path)))
        .filter(|case| case.path.at(&stand, case.place).is_some())
        .collect();
    let measured = Measured::of(context, &mut stand, "one flow", cases)?;

    let mut section = Section::new("One flow, all in the cache", "ns", Better::Lower, &COLUMNS)
        .chart(Chart::Bars);
    for path in Path::ALL {
        let name = match path {
            Path::Miss => format!("miss ({HOT_MISSES} at a time)"),
            _ => path.name().to_owned(),
        };
        let cells = columns().map(|(place, family)| measured.net(case(place, family, path)));
        section.row(name, cells.map(Cell::from).collect());
    }
    report.section(section);
    report.section(steps::section(context, &mut stand, extent.calls, extent.packets)?);

    for (place, path, most) in [
        (Hook::Xdp, Path::NotOurs, 10),
        (Hook::Xdp, Path::Hit, 40),
        (Hook::Xdp, Path::Miss, 120),
        (Hook::Tc, Path::Hit, 100),
    ] {
        for family in Family::BOTH {
            let figure = measured.net(case(place, family, path)).context("not measured")?;
            mark(report, case(place, family, path), "one flow", &figure, most);
        }
    }
    Ok(())
}

/// Many flows, in no order: what memory costs.
fn spread(context: &Context, rig: &mut Rig, extent: &Extent, report: &mut Report) -> Result<()> {
    let here = [Path::Hit, Path::Reply, Path::Miss];
    let elsewhere = [Path::Snat, Path::SnatReply];
    let mut measured = Vec::new();
    for (side, paths) in [(Side::Here, &here[..]), (Side::Elsewhere, &elsewhere[..])] {
        measured.push(spread_over(context, rig, extent, side, paths)?);
    }
    let line = |place, family, flows| Case {
        subject: Subject::Line,
        ..extent.case(place, family, Path::Hit, flows)
    };
    let net = |case| measured.iter().flatten().find_map(|measured: &Measured| measured.net(case));
    let paths = [Path::Hit, Path::Snat, Path::SnatReply, Path::Reply, Path::Miss];
    for ((place, family), title) in columns().zip(COLUMNS) {
        let paths = paths.iter().filter(|path| place == Hook::Tc || **path != Path::Reply);
        let names: Vec<&str> =
            paths.clone().map(|path| path.name()).chain(["one line of an array"]).collect();
        let mut section =
            Section::new(&format!("{title}, spread over flows"), "ns", Better::Lower, &names)
                .chart(Chart::Lines { x: "flows".to_owned() });
        for &flows in extent.spread {
            let cases = paths.clone().map(|path| extent.case(place, family, *path, flows));
            let cases = cases.chain([line(place, family, flows)]);
            section.row(short(flows), cases.map(|case| Cell::from(net(case))).collect());
        }
        report.section(section);
    }
    if let Some(&million) = extent.spread.iter().find(|flows| **flows == 1 << 20) {
        for family in Family::BOTH {
            let case = extent.case(Hook::Xdp, family, Path::Hit, million);
            let figure = net(case).context("not measured")?;
            mark(report, case, "1M flows", &figure, 230);
        }
    }
    Ok(())
}

/// Paths of flows whose backends are at one side, over more and more of them.
fn spread_over(
    context: &Context,
    rig: &mut Rig,
    extent: &Extent,
    side: Side,
    paths: &[Path],
) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for stage in extent.spread.chunk_by(|one, next| sizes(*one) == sizes(*next)) {
        let mut stand = Stand::new(rig, &sizes(stage[0]))?;
        let mut there = 0;
        for &flows in stage {
            make_flows(context, &mut stand, side, there, flows)?;
            there = flows;
            measured.push(spread_of(context, &mut stand, extent, (side, paths), flows)?);
        }
    }
    Ok(measured)
}

/// Makes flows of both families.
fn make_flows(
    context: &Context,
    stand: &mut Stand<'_>,
    side: Side,
    from: u32,
    to: u32,
) -> Result<()> {
    let _making = context.spinner(&format!("making {} flows of each family", short(to)));
    for family in Family::BOTH {
        stand.make_flows(context, Population { family, l4: L4::Udp, side }, from, to)?;
    }
    stand.ensure_flows(to)
}

/// Paths of the flows that there are.
fn spread_of(
    context: &Context,
    stand: &mut Stand<'_>,
    extent: &Extent,
    (side, paths): (Side, &[Path]),
    flows: u32,
) -> Result<Measured> {
    let mut cases = Vec::new();
    for (place, family) in columns() {
        cases.extend(paths.iter().map(|path| extent.case(place, family, *path, flows)));
        if side == Side::Here {
            let hit = extent.case(place, family, Path::Hit, flows);
            cases.push(Case { subject: Subject::Line, ..hit });
        }
    }
    cases.retain(|case| case.path.at(stand, case.place).is_some());
    let measured = Measured::of(context, stand, &format!("{} flows", short(flows)), cases)?;
    stand.ensure_flows(flows)?;
    Ok(measured)
}

fn columns() -> impl Iterator<Item = (Hook, Family)> + Clone {
    PLACES.into_iter().flat_map(|place| Family::BOTH.map(|family| (place, family)))
}

fn mark(report: &mut Report, case: Case, over: &str, figure: &Figure, most: u32) {
    let (place, family) = match (case.place, case.family) {
        (Hook::Xdp, Family::V4) => ("XDP", "IPv4"),
        (Hook::Xdp, Family::V6) => ("XDP", "IPv6"),
        (Hook::Tc, Family::V4) => ("TC", "IPv4"),
        (Hook::Tc, Family::V6) => ("TC", "IPv6"),
    };
    report.mark(
        &format!("{place}, {family}, {}, {over}", case.path.name()),
        &format!("≤ {most} ns"),
        format!("{:.0} ns", figure.median),
        figure.median <= f64::from(most),
    );
}
