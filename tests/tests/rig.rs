//! The rig that benchmarks measure with: frames are whole, all flows occur, sinks count what arrives
//! and tell the wrong from the right. Needs root.

#[path = "../benches/rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;

use anyhow::Result;
use lb_tests::{
    lab::{
        End, Lab, Veth,
        cast::{Family, NODE1, OUTSIDE},
    },
    packet::{Packet, checksums_ok, describe, flags},
};
use nix::net::if_::if_nametoindex;
use rig::{
    Hook, Rig, Sink,
    plan::Check,
    stream::{Direction, FIRST_PORT, Order, Stream},
};

const FRAMES: u32 = 10_000;

fn packets() -> [Packet; 4] {
    let padded = |packet: Packet| packet.udp().payload(&[7; 22]);
    [
        padded(Packet::ipv4()),
        padded(Packet::ipv4()).udp_without_checksum(),
        Packet::ipv6().udp().payload(b"as"),
        Packet::ipv6().tcp(flags::ACK).payload(b"sixaas"),
    ]
}

fn stream(template: Packet, direction: Direction) -> Stream {
    Stream { template, direction, flows: 1 << 15, servers: 4, order: Order::Ascending }
}

#[test]
fn every_flow_has_a_whole_frame_of_its_own_with_right_checksums() -> Result<()> {
    let mut rig = Rig::load(1)?;
    for hook in [Hook::Xdp, Hook::Tc] {
        let nothing = rig.program(if hook == Hook::Xdp { "nothing_xdp" } else { "nothing_tc" })?;
        rig.measure(hook, &nothing)?;
        for template in packets() {
            for direction in [Direction::Request, Direction::Reply] {
                let stream = stream(template.clone(), direction);
                rig.set_plan(&stream.plan()?)?;
                let frame = template.clone().build();
                let mut seen = BTreeSet::new();
                for step in [1, 1, 1, 16_384, 5_000] {
                    let run = rig.run(hook, 1, &frame, step)?;
                    assert!(checksums_ok(&run.frame), "{}", describe(&run.frame));
                    assert_eq!(run.frame.len(), frame.len());
                    assert!(seen.insert(run.frame.clone()), "twice: {}", describe(&run.frame));
                }
                let progress = rig.progress()?;
                assert_eq!((progress.made, progress.flow), (21_387, 21_386));
            }
        }
    }
    Ok(())
}

#[test]
fn in_no_order_most_flows_come_and_none_beyond_their_number() -> Result<()> {
    let mut rig = Rig::load(1)?;
    let nothing = rig.program("nothing_xdp")?;
    rig.measure(Hook::Xdp, &nothing)?;
    let [template, ..] = packets();
    let stream = Stream {
        flows: 16,
        servers: 1,
        order: Order::Scattered,
        ..stream(template.clone(), Direction::Request)
    };
    rig.set_plan(&stream.plan()?)?;
    let mut ports = BTreeSet::new();
    for _ in 0..200 {
        let run = rig.run(Hook::Xdp, 1, &template.clone().build(), 1)?;
        ports.insert(u16::from_be_bytes([run.frame[34], run.frame[35]]) - FIRST_PORT);
    }
    assert_eq!(ports, (0..16).collect());
    Ok(())
}

#[test]
fn a_harness_without_a_plan_or_a_program_measures_nothing() -> Result<()> {
    let mut rig = Rig::load(1)?;
    let [template, ..] = packets();
    let frame = template.clone().build();
    assert!(rig.run(Hook::Xdp, 1, &frame, 1).is_err());
    rig.set_plan(&stream(template, Direction::Request).plan()?)?;
    assert!(rig.run(Hook::Tc, 1, &frame, 1).is_err());
    Ok(())
}

/// Two namespaces and a cable.
fn cable() -> Result<Lab> {
    let mut lab = Lab::start()?;
    lab.add(&["near", "far"])?;
    for name in ["near", "far"] {
        // Nobody says anything but the generator.
        lab.namespace(name)?.sysctl(&[
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
    }
    let veth = Veth {
        a: End::new("near", "eth0", OUTSIDE.mac),
        b: End::new("far", "eth0", NODE1.mac),
        mtu: 1500,
    };
    lab.connect(&[veth])?;
    for name in ["near", "far"] {
        lab.namespace(name)?.ip("link set eth0 up\n")?;
    }
    lab.wait_until_running()?;
    Ok(lab)
}

#[test]
fn a_sink_sees_every_live_frame_and_tells_the_expected_from_others() -> Result<()> {
    let lab = cable()?;
    let (near, far) = (lab.namespace("near")?, lab.namespace("far")?);
    let mut rig = Rig::load(1)?;
    let _sink = rig.attach("count", far, "eth0")?;
    let [template, ..] = packets();
    let stream = stream(template, Direction::Request);
    rig.set_plan(&stream.plan()?)?;
    // The server's last bit: of four, every second one.
    let odd = Check { at: 30, mask: u32::to_be(1), value: u32::to_be(1) };
    rig.expect(&[odd])?;
    let _inside = near.enter()?;
    rig.generate(if_nametoindex("eth0")?, stream.length(), FRAMES)?;
    let seen = rig.seen(Sink::Count)?;
    assert_eq!((seen.expected, seen.others), (u64::from(FRAMES) / 2, u64::from(FRAMES) / 2));
    Ok(())
}

#[test]
fn without_a_sink_nothing_is_seen_though_the_sender_is_told_of_success() -> Result<()> {
    let lab = cable()?;
    let mut rig = Rig::load(1)?;
    let [template, ..] = packets();
    let stream = stream(template, Direction::Request);
    rig.set_plan(&stream.plan()?)?;
    rig.expect(&[])?;
    let _inside = lab.namespace("near")?.enter()?;
    rig.generate(if_nametoindex("eth0")?, stream.length(), FRAMES)?;
    let seen = rig.seen(Sink::Count)?;
    assert_eq!((seen.expected, seen.others), (0, 0));
    Ok(())
}

#[test]
fn answers_come_from_whom_was_asked() -> Result<()> {
    for family in Family::BOTH {
        let lab = cable()?;
        let (near, far) = (lab.namespace("near")?, lab.namespace("far")?);
        let mut rig = Rig::load(1)?;
        let _mirror = rig.attach("reflect", far, "eth0")?;
        let _sink = rig.attach("count", near, "eth0")?;
        let payload = if family == Family::V4 { 22 } else { 2 };
        let template = Packet::new(family).udp().payload(&vec![7; payload]);
        let stream = Stream { servers: 1, ..stream(template.clone(), Direction::Request) };
        rig.set_plan(&stream.plan()?)?;
        let answer = template.build();
        let source = if family == Family::V4 { 30 } else { 50 };
        let word = [0, 1, 2, 3].map(|byte| answer[source + byte]);
        rig.expect(&[Check {
            at: if family == Family::V4 { 26 } else { 34 },
            mask: u32::MAX,
            value: u32::from_ne_bytes(word),
        }])?;
        let _inside = near.enter()?;
        rig.generate(if_nametoindex("eth0")?, stream.length(), FRAMES)?;
        let (there, back) = (rig.seen(Sink::Reflect)?, rig.seen(Sink::Count)?);
        assert_eq!(there.expected + there.others, u64::from(FRAMES), "{family:?}");
        assert_eq!((back.expected, back.others), (u64::from(FRAMES), 0), "{family:?}");
    }
    Ok(())
}
