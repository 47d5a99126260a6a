//! The lab's own test: namespaces come up connected as promised, and go away. Needs root.

use std::fs;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_tests::lab::cast::{self, Family, Host, NODE1, OUTSIDE};
use lb_tests::lab::{Cluster, Lab, Namespace};
use lb_tests::patience::{connections, patient};
use lb_tests::traffic::{Answer, EchoServer, Error, Protocol, Session, Step, many, request};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Serves in `server`, asks from `client` once; checks that the client's own address arrived.
fn ask_across(
    (client_namespace, client): (&Namespace, Host),
    (server_namespace, server): (&Namespace, Host),
) -> Result<()> {
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let address = server.ip(family);
            let echo = EchoServer::start(server_namespace, "b1", address, 8080, protocol)?;
            let Answer { name, peer } =
                request(client_namespace, protocol, echo.address(), TIMEOUT)?;
            assert_eq!((name.as_str(), peer.ip()), ("b1", client.ip(family)));
        }
    }
    Ok(())
}

/// The files of namespaces whose names begin with `prefix`.
fn namespaces_like(prefix: &str) -> Result<Vec<String>> {
    let names = fs::read_dir("/run/netns")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| name.starts_with(prefix)).collect())
}

/// What all namespaces of the cluster have in their names.
fn prefix_of(cluster: &Cluster) -> String {
    cluster.outside().full_name().trim_end_matches("outside").to_owned()
}

#[test]
fn everyone_who_has_a_route_is_reached_at_once_with_both_protocols_and_families() -> Result<()> {
    for offload in [true, false] {
        let cluster = Cluster::builder().checksum_offload(offload).start()?;
        let pod = |node, number| (cluster.pod(node, number), cast::pod(node, number));
        ask_across(pod(1, 1), pod(1, 2)).context("same node")?;
        ask_across(pod(1, 1), pod(2, 3)).context("other node")?;
        ask_across((cluster.outside(), OUTSIDE), (cluster.node(1), NODE1)).context("to node")?;
        ask_across((cluster.node(1), NODE1), pod(1, 1)).context("node to its pod")?;
        ask_across((cluster.node(1), NODE1), pod(2, 1)).context("node to another's pod")?;
    }
    Ok(())
}

#[test]
fn the_outside_cannot_reach_pods_nor_services() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(1).start()?;
    for family in Family::BOTH {
        for address in [cast::pod(1, 1).ip(family), cast::service(family, 1)] {
            let target = SocketAddr::new(address, 8080);
            let error = request(cluster.outside(), Protocol::Tcp, target, TIMEOUT)
                .err()
                .context("the outside has no route there")?;
            assert_eq!(error.step(), Some(Step::Connect), "{error}");
            assert!(matches!(error, Error::Failed { .. }), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_pod_gets_no_answer_from_the_outside_which_has_no_way_back() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(1).start()?;
    let address = OUTSIDE.ip(Family::V4);
    let server = EchoServer::start(cluster.outside(), "b1", address, 8080, Protocol::Udp)?;
    let patience = Duration::from_millis(200);
    let answer = request(cluster.pod(1, 1), Protocol::Udp, server.address(), patience);
    assert!(matches!(answer, Err(Error::TimedOut { step: Step::Receive, .. })), "{answer:?}");
    Ok(())
}

#[test]
fn the_standard_cluster_is_up_within_two_seconds() -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start()?;
    let took = began.elapsed();
    drop(cluster);
    eprintln!("up in {took:?}");
    assert!(took < patient(Duration::from_secs(2)), "{took:?}");
    Ok(())
}

#[test]
fn nothing_is_left_after_drop() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(1).start()?;
    let prefix = prefix_of(&cluster);
    assert_eq!(namespaces_like(&prefix)?.len(), 4);
    drop(cluster);
    assert_eq!(namespaces_like(&prefix)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn nothing_is_left_after_a_panic() -> Result<()> {
    let mut prefix = String::new();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let cluster = Cluster::builder().nodes(1).pods(1).start().expect("a cluster");
        prefix = prefix_of(&cluster);
        let _inside = cluster.node(1).enter().expect("to enter");
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err() && !prefix.is_empty());
    assert_eq!(namespaces_like(&prefix)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn leftovers_of_a_dead_process_are_removed_when_the_next_lab_starts() -> Result<()> {
    // Made while its owner lives: the labs of the other tests, starting meanwhile, must leave it alone.
    let mut owner = Command::new("sleep").arg("60").spawn()?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", owner.id()))?;
    let started = stat.split_whitespace().nth(21).context("proc(5): field 22")?;
    let leftover = format!("lb-{}.{started}.0-node1", owner.id());
    let made = Command::new("ip").args(["netns", "add", &leftover]).status();
    drop(Lab::start()?);
    let while_alive = namespaces_like(&leftover);
    owner.kill()?;
    owner.wait()?;

    assert!(made?.success());
    assert_eq!(while_alive?, [leftover.as_str()]);
    drop(Lab::start()?);
    assert_eq!(namespaces_like(&leftover)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_named_lab_may_be_kept_and_is_replaced_by_the_next_of_its_name() -> Result<()> {
    let name = format!("kept{}", std::process::id());
    let mut lab = Lab::named(&name)?;
    lab.add(&["old"])?;
    let old = lab.keep();
    let after_keep = namespaces_like(&format!("lb-{name}-"));
    // From here on everything of this name goes with `next`, also if an assertion fails.
    let mut next = Lab::named(&name)?;
    next.add(&["new"])?;

    assert_eq!(old, [format!("lb-{name}-old")]);
    assert_eq!(after_keep?, old);
    assert_eq!(namespaces_like(&format!("lb-{name}-"))?, [format!("lb-{name}-new")]);
    drop(next);
    assert_eq!(namespaces_like(&format!("lb-{name}-"))?, Vec::<String>::new());
    Ok(())
}

#[test]
fn two_clusters_at_once_do_not_see_each_other() -> Result<()> {
    let one_cluster = |name: &'static str| -> Result<Cluster> {
        let cluster = Cluster::builder().pods(1).start()?;
        let target = cast::pod(2, 1).socket(Family::V4, 8080);
        let _server = EchoServer::start(cluster.pod(2, 1), name, target.ip(), 8080, Protocol::Tcp)?;
        for _ in 0..50 {
            let answer = request(cluster.pod(1, 1), Protocol::Tcp, target, TIMEOUT)?;
            assert_eq!(answer.name, name);
        }
        Ok(cluster)
    };
    thread::scope(|scope| {
        let threads = ["first", "second"].map(|name| scope.spawn(move || one_cluster(name)));
        let mut prefixes = Vec::new();
        for thread in threads {
            let cluster = thread.join().expect("no panic")?;
            prefixes.push(prefix_of(&cluster));
        }
        prefixes.dedup();
        assert_eq!(prefixes.len(), 2);
        Ok(())
    })
}

#[test]
fn checksum_offload_is_off_everywhere_when_switched_off() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(1).checksum_offload(false).start()?;
    let veth = cast::host_side(1, 1);
    for (namespace, interface) in [
        (cluster.fabric(), "to-node1"),
        (cluster.node(1), veth.as_str()),
        (cluster.pod(1, 1), "eth0"),
    ] {
        let features = namespace.output("ethtool", &["-k", interface])?;
        assert!(features.contains("tx-checksumming: off"), "{interface}: {features}");
    }
    Ok(())
}

#[test]
fn a_command_and_a_thread_inside_see_the_namespaces_own_interfaces() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(1).start()?;
    let interfaces = || fs::read_to_string("/proc/thread-self/net/dev");
    assert!(cluster.node(1).run(interfaces)??.contains("veth-pod1-1"));
    assert!(cluster.node(1).output("ip", &["-brief", "link"])?.contains("veth-pod1-1"));

    let inside_node = cluster.node(1).enter()?;
    let inside_pod = cluster.pod(1, 1).enter()?;
    assert!(!interfaces()?.contains("veth-pod1-1"));
    drop(inside_pod);
    assert!(interfaces()?.contains("veth-pod1-1"));
    drop(inside_node);
    assert!(!interfaces()?.contains("veth-pod1-1"));
    Ok(())
}

#[test]
fn a_session_asks_many_times_and_sends_more_than_one_packet_holds() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(2).checksum_offload(false).start()?;
    for family in Family::BOTH {
        for (protocol, size) in [(Protocol::Tcp, 300_000), (Protocol::Udp, 5_000)] {
            let address = cast::pod(1, 2).ip(family);
            let server = EchoServer::start(cluster.pod(1, 2), "b1", address, 8080, protocol)?;
            let mut session =
                Session::open(cluster.pod(1, 1), protocol, server.address(), TIMEOUT)?;
            for _ in 0..3 {
                assert_eq!(session.ask()?.peer.port(), session.local().port());
                assert_eq!(session.ask_with(&vec![b'x'; size])?.name, "b1");
            }
            assert_eq!(session.finish()?.name, "b1");
        }
    }
    Ok(())
}

#[test]
fn a_server_that_is_dropped_no_longer_answers_and_says_so_by_a_refusal() -> Result<()> {
    let cluster = Cluster::builder().nodes(1).pods(2).start()?;
    for protocol in Protocol::BOTH {
        let address = cast::pod(1, 2).ip(Family::V4);
        let server = EchoServer::start(cluster.pod(1, 2), "b1", address, 8080, protocol)?;
        let target = server.address();
        drop(server);
        let tally = many(cluster.pod(1, 1), protocol, target, 10, 2);
        assert_eq!((tally.answered(), tally.failures.len()), (0, 10), "{tally}");
        assert!(tally.to_string().contains("refused"), "{tally}");
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_short_connections_are_all_answered_in_time() -> Result<()> {
    let cluster = Cluster::builder().nodes(2).pods(1).start()?;
    let target = cast::pod(2, 1).socket(Family::V4, 8080);
    let _server = EchoServer::start(cluster.pod(2, 1), "b1", target.ip(), 8080, Protocol::Tcp)?;
    let began = Instant::now();
    let tally = many(cluster.pod(1, 1), Protocol::Tcp, target, connections(), 16);
    eprintln!("{:?} from {} sources: {tally}", began.elapsed(), tally.distinct_sources());
    tally.assert_all_answered();
    assert_eq!(tally.answered(), connections());
    assert!(began.elapsed() < patient(Duration::from_mins(2)));
    Ok(())
}
