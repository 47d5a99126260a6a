//! Packets a second through a node: live frames in, counted at the far end, for `lb`, its peers, and what
//! nobody can be quicker than. Generator, node and sink share one processor, so a frame's cost at the node is
//! what it takes beyond the floor: frames that the node drops where they come in.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::{
    bench::{Better, Cell, Chart, Context, Figure, Report, Section, peers::Peer},
    lab::cast::Family,
};

use crate::transit::{Front, Load, Transit, Way, network::setup};

/// What is compared, the floor first.
const WAYS: [Way; 7] = [
    Way::Floor,
    Way::Redirect,
    Way::Forwarding,
    Way::Peer(Peer::Nftables),
    Way::Peer(Peer::Iptables),
    Way::LbXdp,
    Way::LbTc,
];

/// What is sent.
#[derive(Clone, Copy)]
enum Traffic {
    /// Of so many flows that are there.
    Established(u32),
    /// A flow with every frame.
    New,
}

/// A table: every way with the same load and traffic.
struct Series {
    title: &'static str,
    load: Load,
    traffic: Traffic,
    /// How many times less than nftables and iptables `lb` is to cost.
    marks: [f64; 2],
}

/// Runs the benchmark.
pub fn run(context: &Context) -> Result<Report> {
    let mut report = Report::new("forward", "Packets a second through a node");
    report.setting("frames", "UDP, 64 bytes; generator, node and sink on one processor");
    report.setting("peers", "rules as kube-proxy writes them, the same services");
    report.setting("room for connections", "lb: 1,048,576 a family (--max-connections)");
    report.setting("translation", "both addresses, both ports: endpoints are elsewhere");
    for series in all(context.quick)? {
        series.run(context, &mut report).with_context(|| series.title.to_owned())?;
    }
    report.note(
        "Marginal is what a frame takes beyond the floor, round by round. A figure is made only if \
         the sink saw 99 % of what was sent, from the node's address and to an endpoint.",
    );
    report.note(
        "For peers a flow's packets go through routing and netfilter; nothing is answered while the \
         figures are taken, but each established flow was answered before.",
    );
    Ok(report)
}

fn all(quick: bool) -> Result<Vec<Series>> {
    let (flows, services) = if quick { (1 << 12, 1_000) } else { (1 << 16, 10_000) };
    let few = |family| {
        Ok::<_, anyhow::Error>(Load { family, setup: setup(family, 1, 16)?, front: Front::Node })
    };
    let many = |family| {
        let front = Front::Cluster(if quick { 512 } else { 8192 });
        Ok::<_, anyhow::Error>(Load { family, setup: setup(family, services, 1)?, front })
    };
    let (established, new) = ([8.0, 8.0], [8.0, 150.0]);
    Ok(vec![
        Series {
            title: "Established, 64 flows, IPv4, a node port",
            load: few(Family::V4)?,
            traffic: Traffic::Established(64),
            marks: established,
        },
        Series {
            title: if quick {
                "Established, 4,096 flows, IPv4, a node port"
            } else {
                "Established, 65,536 flows, IPv4, a node port"
            },
            load: few(Family::V4)?,
            traffic: Traffic::Established(flows),
            marks: established,
        },
        Series {
            title: "Established, 64 flows, IPv6, a node port",
            load: few(Family::V6)?,
            traffic: Traffic::Established(64),
            marks: established,
        },
        Series {
            title: if quick {
                "A new flow with every packet, IPv4, cluster IPs of 1,000 services"
            } else {
                "A new flow with every packet, IPv4, cluster IPs of 10,000 services"
            },
            load: many(Family::V4)?,
            traffic: Traffic::New,
            marks: new,
        },
    ])
}

impl Series {
    fn run(&self, context: &Context, report: &mut Report) -> Result<()> {
        // Of many flows so long that the packet a second with which each renews its age is one of many.
        let time = Duration::from_millis(match self.traffic {
            _ if context.quick => 100,
            Traffic::Established(flows) if flows > 1 << 10 => 1_500,
            _ => 500,
        });
        let mut transits = Vec::new();
        for way in WAYS {
            context.check()?;
            let building = context.spinner(&format!("{}: {}", self.title, way.text()));
            let mut transit = Transit::new(way, &self.load)?;
            if let Traffic::Established(flows) = self.traffic {
                transit.establish(flows)?;
            }
            transits.push(transit);
            drop(building);
        }
        let figures =
            context.interleave(self.title, &mut transits, |transit| match self.traffic {
                Traffic::Established(flows) => transit.established(flows, time),
                Traffic::New => transit.new_flows(),
            })?;
        let floor = figures.first().context("there is no floor")?;
        let columns = ["gross, Mpps", "gross, ns", "marginal, ns"];
        let mut section = Section::new(self.title, "a frame", Better::Lower, &columns);
        for (way, figure) in WAYS.iter().zip(&figures) {
            let marginal = match way {
                Way::Floor => Cell::Absent,
                _ => figure.less(floor).into(),
            };
            section.row(
                way.text(),
                vec![figure.map(|ns| 1e3 / ns).into(), figure.clone().into(), marginal],
            );
        }
        report.section(section);
        let mut chart = Section::new(
            &format!("{}: beyond the floor", self.title),
            "ns",
            Better::Lower,
            &["marginal"],
        )
        .chart(Chart::Bars);
        for (way, figure) in WAYS.iter().zip(&figures).skip(1) {
            chart.row(way.text(), vec![figure.less(floor).into()]);
        }
        report.section(chart);
        self.compare(report, floor, &figures);
        Ok(())
    }

    fn compare(&self, report: &mut Report, floor: &Figure, figures: &[Figure]) {
        let of = |way: Way| {
            let index = WAYS.iter().position(|&other| other == way);
            index.map(|index| figures[index].less(floor))
        };
        for (peer, wanted) in [Peer::Nftables, Peer::Iptables].into_iter().zip(self.marks) {
            let (Some(theirs), Some(ours)) = (of(Way::Peer(peer)), of(Way::LbXdp)) else {
                continue;
            };
            let ratio = theirs.ratio(&ours);
            report.mark(
                &format!("{}: {} against lb, XDP, marginal", self.title, Way::Peer(peer).text()),
                &format!("≥ {wanted} ×"),
                format!("{ratio:.1} ×"),
                ratio >= wanted,
            );
        }
    }
}
