//! What a packet costs in each program, by `BPF_PROG_TEST_RUN`: nanoseconds on one core with everything
//! in the cache. Run by hand as root: `cargo run -p lb-tests --example hit_path --release`.
//!
//! A test run that repeats does not put the packet back, so each repetition sees what the one before
//! left. Flows that go through the stack are therefore translated to what they are already; what is
//! sent on loses one from its time to live each time, and is repeated only as often as that allows.

#[path = "../tests/bed/mod.rs"]
mod bed;

use std::iter;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Program;
use bed::{
    At, Backend, Bed, Front, Point,
    world::{BACKEND_PORT, CLIENT_PORT, POD},
};
use lb_common::{
    addr::{Address, Port},
    checksum::{Delta, Sum},
    hook::Hook,
    tables::{Egress, Emit, Flow, FlowKey, Half},
    verdict::{PassReason, Verdict},
    wire::{L4, MacPair},
};
use lb_tests::{
    lab::cast::{Family, NODE1, NODE2, OUTSIDE},
    packet::{Packet, flags},
};
use lb_userspace::dataplane::Programs;

const ROUNDS: usize = 5;
const REPETITIONS: u32 = 1_000_000;
/// Calls of [`HOPS`] packets in a round: each costs XDP milliseconds to prepare.
const CALLS: u32 = 100;
/// As often as a time to live allows.
const HOPS: u32 = 250;

fn main() -> Result<()> {
    let bed = Bed::new()?;
    print_programs(&bed)?;
    println!("\nns per packet: median of {ROUNDS} rounds, lowest and highest");
    let nothing = figure(|| empty(&bed))?;
    print("TC, a program that does nothing", nothing, 0.0);
    let not_ip = Packet::ipv4().vlan(1).build();
    for point in Point::ALL {
        let at = bed.world.at(point);
        println!("{}", point.program());
        // Nothing is empty at XDP: there what is not IP stands for it, which costs a little more.
        let pass =
            figure(|| measure(&bed, at, &not_ip, PassReason::NotIp as u32, (1, REPETITIONS)))?;
        let base = if point == Point::Xdp { pass.median } else { nothing.median };
        print("  not IP", pass, base);
        let other = Packet::ipv4().from(OUTSIDE, CLIENT_PORT).ports(CLIENT_PORT, 443).build();
        let not_ours = PassReason::NotOurs as u32;
        let figures = figure(|| measure(&bed, at, &other, not_ours, (1, REPETITIONS)))?;
        print("  not ours", figures, base);
        for family in Family::BOTH {
            let name = |emit| format!("  hit, {family:?} TCP, {emit}");
            let frame = hit(&bed, at, family, Emit::Stack)?;
            let stack = Verdict::Stack.counter();
            let figures = figure(|| measure(&bed, at, &frame, stack, (1, REPETITIONS)))?;
            print(&name("to the stack"), figures, base);
            if point.hook() == Hook::UplinkIn {
                let frame = hit(&bed, at, family, Emit::Transmit)?;
                let sent = Verdict::Transmit(0).counter();
                let figures = figure(|| measure(&bed, at, &frame, sent, (CALLS, HOPS)))?;
                print(&name("sent on"), figures, base);
            }
        }
    }
    Ok(())
}

/// Median, lowest and highest of the rounds.
#[derive(Clone, Copy)]
struct Figure {
    median: f64,
    lowest: f64,
    highest: f64,
}

fn figure(measure: impl Fn() -> Result<f64>) -> Result<Figure> {
    let mut rounds: Vec<f64> = iter::repeat_with(measure).take(ROUNDS).collect::<Result<_>>()?;
    rounds.sort_by(f64::total_cmp);
    Ok(Figure { median: rounds[ROUNDS / 2], lowest: rounds[0], highest: rounds[ROUNDS - 1] })
}

fn print(what: &str, figure: Figure, base: f64) {
    let Figure { median, lowest, highest } = figure;
    println!(
        "{what:<34} {median:>6.1} ({lowest:.1} to {highest:.1}), less the base {:>6.1}",
        median - base
    );
}

/// The program that returns the clock, which the kernel runs on a packet all the same.
fn empty(bed: &Bed) -> Result<f64> {
    let frame = Packet::ipv4().build();
    let result = bed.call("lb_clock", &frame, None, &[], REPETITIONS)?;
    Ok(as_ns(result.duration))
}

/// One round: some calls of `at_once` packets each. Fails unless each of them was counted as
/// expected.
fn measure(
    bed: &Bed,
    at: At,
    frame: &[u8],
    counter: u32,
    (calls, at_once): (u32, u32),
) -> Result<f64> {
    let before = bed.tables.counter(counter)?;
    let mut total = 0.0;
    for _ in 0..calls {
        total += as_ns(bed.repeat(at, frame, None, at_once)?.duration);
    }
    let seen = bed.tables.counter(counter)? - before;
    ensure!(seen == u64::from(calls * at_once), "only {seen} packets went as expected");
    Ok(total / f64::from(calls))
}

/// The kernel tells the mean of a call's repetitions, in whole nanoseconds.
fn as_ns(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// Enters an established flow that changes nothing but what sending on changes, and returns its packet.
fn hit(bed: &Bed, at: At, family: Family, emit: Emit) -> Result<Vec<u8>> {
    let (client, port) = (POD.ip(family), CLIENT_PORT + emit as u16);
    let service = Front::Cluster.socket(family, Backend::Local);
    let (packet, source_port, destination_port) = if at.point.hook().faces_clients() {
        let packet = Packet::new(family).addresses(client, service.ip());
        (packet, port, service.port())
    } else {
        let server = Backend::Local.socket(family);
        (Packet::new(family).addresses(server.ip(), client), BACKEND_PORT, port)
    };
    let packet = packet.ports(source_port, destination_port).tcp(flags::ACK).ttl(255).build();
    let ports = (Port::from_host(source_port), Port::from_host(destination_port));
    match (service.ip(), client) {
        (std::net::IpAddr::V4(service), std::net::IpAddr::V4(client)) => {
            let server = Backend::Local.hosts()[0].v4.into();
            let ends = ends(at, client.into(), service.into(), server);
            let entry = entry(bed, at, ends, ports, emit)?;
            bed.tables.flows_v4.update(&[entry])?;
        }
        (std::net::IpAddr::V6(service), std::net::IpAddr::V6(client)) => {
            let server = Backend::Local.hosts()[0].v6.into();
            let ends = ends(at, client.into(), service.into(), server);
            let entry = entry(bed, at, ends, ports, emit)?;
            bed.tables.flows_v6.update(&[entry])?;
        }
        _ => {}
    }
    Ok(packet)
}

/// Source and destination of the packet.
fn ends<A>(at: At, client: A, service: A, server: A) -> (A, A) {
    if at.point.hook().faces_clients() { (client, service) } else { (server, client) }
}

fn entry<A: Address>(
    bed: &Bed,
    at: At,
    (source, destination): (A, A),
    (source_port, destination_port): (Port, Port),
    emit: Emit,
) -> Result<(FlowKey<A>, Flow<A>)> {
    let now = bed.call("lb_clock", &[0; 64], None, &[], 1)?.return_value;
    let (id, backend) = bed.tables.backends().next().context("the bed has backends")?;
    let hook = at.point.hook();
    let key = FlowKey::new(hook, L4::Tcp, (source, source_port), (destination, destination_port));
    let (addresses, ports) = (source.sum() + destination.sum(), Sum::of_half(0));
    let egress = Egress {
        ifindex: at.ifindex,
        epoch: 1,
        macs: MacPair::new(NODE2.mac.0, NODE1.mac.0),
        mtu: 1500,
        flags: Egress::NEIGHBOUR | Egress::XDP_TRANSMIT,
    };
    let flow = Flow {
        source,
        destination,
        source_port,
        destination_port,
        address_delta: Delta::replace(addresses, addresses),
        port_delta: Delta::replace(ports, ports),
        backend: lb_common::tables::BackendRef { id, generation: backend.generation },
        service: backend.service,
        last_seen: now,
        sequence: 0,
        half: Half::Forward as u8,
        emit: emit as u8,
        state: 0,
        packets: 0,
        egress,
    };
    Ok((key, flow))
}

/// How large each program is.
fn print_programs(bed: &Bed) -> Result<()> {
    println!("{:<18} {:>12} {:>10} {:>10}", "program", "instructions", "verified", "machine B");
    for name in Programs::NAMES {
        let info = match bed.programs().program(name) {
            Some(Program::Xdp(program)) => program.info()?,
            Some(Program::SchedClassifier(program)) => program.info()?,
            _ => continue,
        };
        println!(
            "{name:<18} {:>12} {:>10} {:>10}",
            info.size_translated().context("kernel.bpf_stats")? / 8,
            info.verified_instruction_count().unwrap_or(0),
            info.size_jitted()
        );
    }
    Ok(())
}
