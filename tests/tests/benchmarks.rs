//! A benchmark that breaks its own rules fails rather than printing a number: a node that does nothing, or
//! something else than what is measured, has no figure. Needs root.

#[path = "../benches/rig/mod.rs"]
mod rig;
#[path = "../benches/transit/mod.rs"]
mod transit;

use std::time::Duration;

use anyhow::Result;
use lb_tests::{bench::peers::Peer, lab::cast::Family};
use transit::{Front, Load, Transit, Way, network::setup};

const FLOWS: u32 = 64;
const TIME: Duration = Duration::from_millis(20);

fn load(family: Family) -> Result<Load> {
    Ok(Load { family, setup: setup(family, 2, 4)?, front: Front::Node })
}

/// The words of a failure.
fn refused(outcome: Result<f64>) -> String {
    match outcome {
        Ok(figure) => panic!("a figure of {figure} ns came out"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn every_way_has_a_figure_for_established_flows_in_both_families() -> Result<()> {
    let ways = [
        Way::Floor,
        Way::Redirect,
        Way::Forwarding,
        Way::Peer(Peer::Nftables),
        Way::Peer(Peer::Iptables),
        Way::LbXdp,
        Way::LbTc,
    ];
    for family in Family::BOTH {
        for way in ways {
            let mut transit = Transit::new(way, &load(family)?)?;
            transit.establish(FLOWS)?;
            let figure = transit.established(FLOWS, TIME)?;
            assert!(figure > 0.0, "{way:?} {family:?}");
        }
    }
    Ok(())
}

#[test]
fn every_way_has_a_figure_for_new_flows_to_many_services() -> Result<()> {
    let many =
        Load { family: Family::V4, setup: setup(Family::V4, 64, 1)?, front: Front::Cluster(64) };
    for way in [Way::Peer(Peer::Nftables), Way::Peer(Peer::Iptables), Way::LbXdp, Way::LbTc] {
        let mut transit = Transit::new(way, &many)?;
        for _ in 0..2 {
            assert!(transit.new_flows()? > 0.0, "{way:?}");
        }
    }
    Ok(())
}

#[test]
fn without_a_sink_there_is_no_figure() -> Result<()> {
    let mut transit = Transit::new(Way::Redirect, &load(Family::V4)?)?;
    transit.lose_sink();
    let error = refused(transit.established(FLOWS, TIME));
    assert!(error.contains("none was seen"), "{error}");
    Ok(())
}

#[test]
fn a_peer_whose_rules_are_not_there_has_no_figure() -> Result<()> {
    for peer in [Peer::Nftables, Peer::Iptables] {
        let mut transit = Transit::with(Way::Peer(peer), Way::Forwarding, &load(Family::V4)?)?;
        let error = refused(transit.establish(FLOWS).map(|()| 0.0));
        assert!(error.contains("none was seen at the client"), "{error}");
        refused(transit.established(FLOWS, TIME));
    }
    Ok(())
}

#[test]
fn frames_that_are_sent_on_untranslated_have_no_figure() -> Result<()> {
    let mut transit = Transit::with(Way::LbXdp, Way::Redirect, &load(Family::V4)?)?;
    let error = refused(transit.established(FLOWS, TIME));
    assert!(error.contains("others"), "{error}");
    Ok(())
}

#[test]
fn a_stopped_lb_has_no_figure() -> Result<()> {
    for way in [Way::LbXdp, Way::LbTc] {
        let mut transit = Transit::new(way, &load(Family::V4)?)?;
        transit.establish(FLOWS)?;
        transit.stop_lb();
        let error = refused(transit.established(FLOWS, TIME));
        assert!(error.contains("was seen") || error.contains("were seen"), "{error}");
    }
    Ok(())
}

#[test]
fn flows_that_were_not_established_have_no_figure_as_such() -> Result<()> {
    let ways = [Way::LbXdp, Way::LbTc, Way::Peer(Peer::Nftables), Way::Peer(Peer::Iptables)];
    for way in ways {
        let mut transit = Transit::new(way, &load(Family::V4)?)?;
        let error = refused(transit.established(FLOWS, TIME));
        assert!(error.contains("that should have been there"), "{way:?}: {error}");
    }
    Ok(())
}
