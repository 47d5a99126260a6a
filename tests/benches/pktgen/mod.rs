//! `pktgen`: the kernel's own packet generator, through a node in namespaces of a virtual machine, where IPVS is
//! among the peers; or out of a real interface, to another host.

mod generator;
mod hosts;

use anyhow::Result;
use lb_tests::{
    bench::{Better, Cell, Chart, Context, Figure, Report, Section, peers::Peer},
    lab::cast::Family,
};

use crate::transit::{Front, Load, Transit, Way, network::setup};
pub use hosts::Hosts;

/// Who is measured, the floor first.
const WAYS: [Way; 8] = [
    Way::Floor,
    Way::Redirect,
    Way::Forwarding,
    Way::Peer(Peer::Nftables),
    Way::Peer(Peer::Iptables),
    Way::Peer(Peer::Ipvs),
    Way::LbXdp,
    Way::LbTc,
];

/// Flows that take turns.
const FLOWS: u32 = 64;

/// Runs the benchmark: to another host if one is named.
pub fn run(context: &Context, hosts: &Hosts) -> Result<Report> {
    generator::ensure_present()?;
    let mut report = Report::new("pktgen", "Packets a second by the kernel's packet generator");
    report.setting("frames", format_args!("UDP in IPv4, 64 bytes, {FLOWS} flows that take turns"));
    if let Some(host) = hosts.named()? {
        host.measure(context, &mut report)?;
        return Ok(report);
    }
    report.setting(
        "services",
        "one with 16 endpoints elsewhere; the client's address is translated too",
    );
    let mut rates = Vec::new();
    for (what, front) in [("a node port", Front::Node), ("a cluster IP", Front::Cluster(1))] {
        rates.push(through_a_node(context, what, front)?);
    }
    let columns = ["a node port", "a cluster IP", "a node port, marginal ns"];
    let mut section =
        Section::new("Established flows", "kpps", Better::Higher, &columns[..2]).chart(Chart::Bars);
    let mut marginal =
        Section::new("Beyond the floor, a node port", "ns", Better::Lower, &columns[2..]);
    for (index, way) in WAYS.iter().enumerate() {
        let cells = rates.iter().map(|figures| Cell::from(figures[index].map(|ns| 1e6 / ns)));
        section.row(way.text(), cells.collect());
        if *way != Way::Floor {
            marginal.row(way.text(), vec![rates[0][index].less(&rates[0][0]).into()]);
        }
    }
    report.section(section);
    report.section(marginal);
    ahead_of_each(&mut report, &rates[0]);
    report.note(
        "Packets a second are what the sink saw, which is nearly all that was sent, translated as it \
         ought to be. On an emulated processor only their relations mean something.",
    );
    Ok(report)
}

/// A figure for each way, in nanoseconds a frame.
fn through_a_node(context: &Context, what: &str, front: Front) -> Result<Vec<Figure>> {
    let load = Load { family: Family::V4, setup: setup(Family::V4, 1, 16)?, front };
    let mut transits = Vec::new();
    for way in WAYS {
        context.check()?;
        let _building = context.spinner(&format!("{what}: {}", way.text()));
        let mut transit = Transit::new(way, &load)?;
        transit.establish(FLOWS)?;
        transits.push(transit);
    }
    let frames = if context.quick { 20_000 } else { 200_000 };
    context.interleave(what, &mut transits, |transit| {
        transit.sent_by(FLOWS, |offer| {
            let sent = generator::send(offer, frames)?;
            Ok((sent.frames, sent.elapsed))
        })
    })
}

fn ahead_of_each(report: &mut Report, figures: &[Figure]) {
    let of = |way: Way| WAYS.iter().position(|&other| other == way).map(|index| &figures[index]);
    for ours in [Way::LbXdp, Way::LbTc] {
        for peer in [Peer::Ipvs, Peer::Iptables, Peer::Nftables] {
            if let (Some(ours_ns), Some(theirs)) = (of(ours), of(Way::Peer(peer))) {
                let ratio = theirs.ratio(ours_ns);
                report.mark(
                    &format!("{} ahead of {}", ours.text(), Way::Peer(peer).text()),
                    "> 1 ×",
                    format!("{ratio:.2} ×"),
                    ratio > 1.0,
                );
            }
        }
    }
}
