//! What an operator sees while it works: figures of services and endpoints, source ports and how many are left,
//! events. Needs root.

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use common::{BRIEFLY, Bed, SOON, binary, run_arguments};
use lb_common::tables::SnatPorts;
use lb_tests::{
    echo::{self, cluster_ip, node_port},
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    patience::patient,
    process::LoadBalancer,
    traffic::{Protocol, Session, request},
};
use lb_userspace::dataplane::{Pins, Tables};
use serde_json::Value;

/// The echo service over TCP and IPv4, in a status.
fn service(status: &Value) -> Result<&Value> {
    let services = status["services"].as_array().context("services")?;
    let is_it = |one: &&Value| one["protocol"] == "TCP" && one["family"] == "IPv4";
    services.iter().find(is_it).context("the echo service")
}

fn number(value: &Value, name: &str) -> Result<u64> {
    value[name].as_u64().with_context(|| format!("{name} of {value}"))
}

/// So many requests from a pod.
fn ask(cluster: &Cluster, times: u32) -> Result<()> {
    for _ in 0..times {
        request(cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    }
    Ok(())
}

#[test]
fn a_services_figures_are_those_of_its_endpoints_and_go_on_whatever_comes_and_goes() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1), (1, 2)], &[])?;
    let _server = echo::serve(&bed.cluster, (2, 1))?;
    ask(&bed.cluster, 20)?;
    let status = bed.lb.status()?;
    let before = service(&status)?;
    let endpoints = before["backendCounters"].as_array().context("endpoints")?;
    assert_eq!(endpoints.len(), 2);
    for figure in ["flows", "packets", "bytes"] {
        let sum = endpoints.iter().map(|one| number(one, figure)).sum::<Result<u64>>()?;
        assert_eq!(number(before, figure)?, sum, "{figure}");
    }
    assert_eq!(number(before, "flows")?, 20);
    // There and back: SYN, SYN-ACK, ACK, and the data, and the ends.
    assert!(number(before, "packets")? >= 20 * 6);
    assert!(number(before, "bytes")? >= 20 * 6 * 54);

    let mut sessions = Vec::new();
    for _ in 0..3 {
        let client = bed.cluster.pod(1, 3);
        let mut session = Session::open(client, Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
        session.ask()?;
        sessions.push(session);
    }
    bed.lb
        .wait_for("three open flows", |status| service(status).is_ok_and(|one| one["open"] == 3))?;
    for session in sessions {
        session.finish()?;
    }
    bed.lb.wait_for("no open flow", |status| service(status).is_ok_and(|one| one["open"] == 0))?;

    // Numbers that were given back are given again, once they have rested.
    bed.set_backends(&[(2, 1)])?;
    ask(&bed.cluster, 5)?;
    let figures = |lb: &LoadBalancer| -> Result<(u64, u64)> {
        let status = lb.status()?;
        let one = service(&status)?;
        Ok((number(one, "flows")?, number(one, "packets")?))
    };
    let (flows, packets) = figures(&bed.lb)?;
    assert_eq!(flows, 28, "those of endpoints that are gone are not forgotten");
    rest();
    bed.set_backends(&[(1, 1), (1, 2)])?;
    let (flows, now) = figures(&bed.lb)?;
    assert_eq!(flows, 28, "their numbers are others' now");
    assert!(now >= packets);
    let status = bed.lb.status()?;
    let endpoints = service(&status)?["backendCounters"].as_array().context("endpoints")?;
    assert!(endpoints.iter().all(|one| one["flows"] == 0), "new ones begin anew: {endpoints:?}");

    ask(&bed.cluster, 2)?;
    let Bed { lb, servers, manifests, cluster, .. } = bed;
    let instance = lb.kill()?;
    ask(&cluster, 5)?;
    let arguments = run_arguments(&manifests, &[]);
    let lb = LoadBalancer::start_as(&instance, cluster.node(1), binary(), &arguments)?;
    assert_eq!(figures(&lb)?.0, 35, "over a kill");
    drop((lb, servers));
    Ok(())
}

/// As long as numbers rest that were given back.
fn rest() {
    let end = Instant::now() + Duration::from_millis(1_100);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(50)); // tidy: polls with a deadline
    }
}

/// What the programs go by, read from the maps.
fn source_ports(lb: &LoadBalancer) -> Result<(SnatPorts, SnatPorts)> {
    let pins = Pins::of(Path::new("/sys/fs/bpf"), lb.instance());
    Ok(Tables::open(&pins)?.source_ports())
}

fn wait_for_ports(
    lb: &LoadBalancer,
    what: &str,
    condition: impl Fn(SnatPorts, SnatPorts) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patient(Duration::from_secs(30));
    loop {
        let (ports, replies) = source_ports(lb)?;
        if condition(ports, replies) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no {what}: {ports:?}, replies {replies:?}");
        thread::sleep(Duration::from_millis(50)); // tidy: polls with a deadline
    }
}

const LOCAL_PORTS: &str = "net/ipv4/ip_local_port_range";

fn from_outside(cluster: &Cluster) -> Result<Session> {
    Ok(Session::open(cluster.outside(), Protocol::Tcp, node_port(Family::V4), SOON)?)
}

#[test]
fn source_ports_follow_the_hosts_settings_and_open_connections_keep_theirs() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.node(1).sysctl(&[(LOCAL_PORTS, "32768 60999")])?;
    let bed = Bed::start(cluster, &[(2, 1)], &[])?;
    let node = bed.cluster.node(1);
    let mut old = from_outside(&bed.cluster)?;
    let old_port = old.ask()?.peer.port();
    assert!((1_024..30_000).contains(&old_port), "{old_port}");

    node.sysctl(&[(LOCAL_PORTS, "1024 29999")])?;
    bed.lb.wait_for_log("source ports follow the host's settings")?;
    let mut new = from_outside(&bed.cluster)?;
    let new_port = new.ask()?.peer.port();
    assert!(new_port >= 32_768, "{new_port}");
    assert_eq!(old.ask()?.peer.port(), old_port, "an open connection keeps its port");

    // The next pass finds which ports of the old range are still somebody's.
    wait_for_ports(&bed.lb, "narrower range for replies", |ports, replies| {
        ports.first == 32_768 && replies.first == old_port
    })?;
    assert_eq!(old.ask()?.peer.port(), old_port, "replies to it are still recognised");

    // A new one that takes over meanwhile knows no less.
    let Bed { lb, servers, manifests, cluster, .. } = bed;
    let instance = lb.kill()?;
    let arguments = run_arguments(&manifests, &[]);
    let lb = LoadBalancer::start_as(&instance, cluster.node(1), binary(), &arguments)?;
    assert_eq!(old.ask()?.peer.port(), old_port, "after a take-over");
    assert_eq!(new.ask()?.peer.port(), new_port);
    drop((lb, servers));
    Ok(())
}

#[test]
fn who_runs_out_of_source_ports_is_warned_before_and_then() -> Result<()> {
    let cluster = Cluster::start()?;
    // Ten are left at the top.
    cluster.node(1).sysctl(&[(LOCAL_PORTS, "1024 65525")])?;
    let bed = Bed::start(cluster, &[(2, 1)], &[])?;
    let remote = cast::pod(2, 1).socket(Family::V4, echo::BACKEND_PORT).to_string();
    let fullest = |status: &Value| -> Option<(u64, u64, bool)> {
        let one = status["sourcePorts"].as_array()?.first()?;
        Some((one["used"].as_u64()?, one["size"].as_u64()?, one["remote"] == *remote))
    };
    let mut sessions = Vec::new();
    let mut fill = |to: u64| -> Result<()> {
        for _ in 0..300 {
            let used = fullest(&bed.lb.status()?).map_or(0, |(used, size, is_it)| {
                assert!(size == 10 && is_it);
                used
            });
            if used >= to {
                return Ok(());
            }
            // Not each search finds what is left.
            sessions.extend(
                Session::open(bed.cluster.outside(), Protocol::Tcp, node_port(Family::V4), BRIEFLY)
                    .ok(),
            );
        }
        bail!("there are never {to} ports used")
    };
    fill(8)?;
    bed.lb.wait_for_log("are running out")?;
    assert!(!bed.lb.log().contains("are used up"), "{}", bed.lb.log());
    fill(10)?;
    bed.lb.wait_for_log("are used up")?;
    let log = bed.lb.log();
    let lines =
        log.lines().filter(|line| line.contains("are used up") || line.contains("running out"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 2, "each once: {lines:?}");
    for line in lines {
        for word in [&*remote, "size=10", &cast::NODE1.v4.to_string(), "ip_local_port_range"] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
    }
    Ok(())
}

/// `lb events` at work.
struct Watched {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watched {
    fn start(lb: &LoadBalancer, namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        let mut command = events(lb, namespace);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("its output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).count()
        });
        let started = Self { child, lines };
        wait_until(|| tables(lb).is_ok_and(|tables| tables.sample_events() == 1))?;
        Ok(started)
    }

    /// The first event that fits.
    fn wait_for(&self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + patient(SOON);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).context("there is no such event")?;
            let event: Value = serde_json::from_str(&line)?;
            if fits(&event) {
                return Ok(event);
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // That it has ended by itself is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn events(lb: &LoadBalancer, namespace: &Namespace) -> Command {
    lb_tests::process::lb(namespace, binary(), "events", lb.instance())
}

fn tables(lb: &LoadBalancer) -> Result<Tables> {
    Ok(Tables::open(&Pins::of(Path::new("/sys/fs/bpf"), lb.instance()))?)
}

fn wait_until(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + patient(SOON);
    while !condition() {
        ensure!(Instant::now() < deadline, "it does not happen");
        thread::sleep(Duration::from_millis(20)); // tidy: polls with a deadline
    }
    Ok(())
}

#[test]
fn events_name_what_happened_to_whom() -> Result<()> {
    let mut bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    let node = bed.cluster.node(1);
    let refused = events(&bed.lb, node).output()?;
    let said = String::from_utf8(refused.stderr)?;
    assert!(!refused.status.success() && said.contains("--every"), "{said}");

    let watched = Watched::start(&bed.lb, node, &["--every", "1", "-o", "json"])?;
    let second = events(&bed.lb, node).args(["--every", "1"]).output()?;
    let said = String::from_utf8(second.stderr)?;
    assert!(!second.status.success() && said.contains("another lb events"), "{said}");

    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let target = cluster_ip(family);
            request(bed.cluster.pod(1, 3), protocol, target, SOON)?;
            let begun = watched.wait_for(|event| event["event"] == "flow_created")?;
            assert_eq!(begun["destination"], target.to_string());
            assert_eq!(begun["hook"], "workload-in");
            assert_eq!(
                begun["service"].as_str().map(|name| name.contains("default/echo")),
                Some(true)
            );
            let endpoint = cast::pod(1, 1).socket(family, echo::BACKEND_PORT);
            assert_eq!(begun["endpoint"], endpoint.to_string());
            let source = begun["source"].as_str().context("source")?;
            assert!(source.contains(&cast::pod(1, 3).ip(family).to_string()), "{source}");
        }
    }

    bed.set_backends(&[])?;
    assert!(request(bed.cluster.outside(), Protocol::Tcp, node_port(Family::V4), SOON).is_err());
    let dropped = watched.wait_for(|event| event["event"] == "drop_no_backend")?;
    assert_eq!(dropped["interface"], "eth0");
    assert_eq!((&dropped["hook"], &dropped["protocol"]), (&"uplink-in".into(), &"TCP".into()));
    assert_eq!(dropped["service"].as_str().map(|name| name.contains("default/echo")), Some(true));
    assert!(dropped["endpoint"].is_null());

    // Stopped by a signal, it leaves things as they were.
    let pid = nix::unistd::Pid::from_raw(watched.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    wait_until(|| tables(&bed.lb).is_ok_and(|tables| tables.sample_events() == 0))?;
    bed.lb.stop()?;
    Ok(())
}

#[test]
fn events_that_nobody_reads_are_counted_as_lost_and_harm_no_packet() -> Result<()> {
    let arguments = ["--sample-events", "1", "--max-event-bytes", "4096"];
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &arguments)?;
    ask(&bed.cluster, 120)?;
    assert!(bed.lb.counter("events_lost")? > 0);
    let watched = Watched::start(&bed.lb, bed.cluster.node(1), &["-o", "json"])?;
    watched.wait_for(|event| event["event"] == "flow_created")?;
    Ok(())
}
