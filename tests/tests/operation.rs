//! What an operator meets: clear errors that leave nothing behind, stops that detach, kills that
//! leave traffic going, starts that take over. Needs root.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use common::{BACKENDS, BRIEFLY, Bed, SOON, binary, run_arguments};
use lb_tests::{
    echo::{self, cluster_ip, name, node_port},
    lab::{Cluster, Namespace, cast::Family},
    manifests::Manifests,
    process::{LoadBalancer, fresh_instance, lb, remove},
    traffic::{Protocol, Session, assert_fair, many, request},
};

const BPFFS: &str = "/sys/fs/bpf";

/// Runs `lb run` where it must fail, and returns what it said.
fn refusal(mut command: Command, arguments: &[&str]) -> Result<String> {
    let Output { status, stderr, .. } = command.args(arguments).output()?;
    let said = String::from_utf8(stderr)?;
    assert!(!status.success(), "it started all the same:\n{said}");
    Ok(said)
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

/// What programs a namespace's interface has, as `ip` shows them.
fn has_xdp(namespace: &Namespace, interface: &str) -> Result<bool> {
    Ok(namespace.output("ip", &["link", "show", "dev", interface])?.contains("xdp"))
}

fn assert_nothing_left(cluster: &Cluster, instance: &str) -> Result<()> {
    assert!(!Path::new(BPFFS).join(instance).exists(), "pins are left");
    assert!(!Path::new("/run/lb").join(format!("{instance}.json")).exists(), "state is left");
    assert!(!has_xdp(cluster.node(1), "eth0")?, "XDP is left");
    // What Services were given outlives a stop.
    remove(instance);
    for family in Family::BOTH {
        let answer = request(cluster.pod(1, 3), Protocol::Tcp, cluster_ip(family), BRIEFLY);
        assert!(answer.is_err(), "still translated: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_malformed_manifest_is_refused_with_file_and_line() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    manifests.write("bad.yaml", "apiVersion: v1\nkind: Service\nmetadata: [\n")?;
    let instance = fresh_instance();
    let command = lb(cluster.node(1), binary(), "run", &instance);
    let said = refusal(command, &run_arguments(&manifests, &[]))?;
    assert_says(&said, &["bad.yaml", "nothing was attached"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn a_wrong_field_is_refused_by_its_path() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    let text = echo::service().to_yaml().replace("nodePort: 30080", "nodePort: 80");
    manifests.write("echo.yaml", &text)?;
    let instance = fresh_instance();
    let command = lb(cluster.node(1), binary(), "run", &instance);
    let said = refusal(command, &run_arguments(&manifests, &[]))?;
    assert_says(&said, &["echo.yaml", "default/echo", "spec.ports[0].nodePort", "30000-32767"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn a_manifest_that_goes_bad_disturbs_nothing_and_is_taken_when_it_is_mended() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    bed.manifests.write("echo-endpoints.yaml", "kind: EndpointSlice\nendpoints: {{\n")?;
    let status = bed.lb.wait_for("the report of the problem", |status| {
        status["problems"].to_string().contains("echo-endpoints.yaml")
    })?;
    assert_eq!(status["running"], true);
    request(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    let _servers = echo::serve(&bed.cluster, (1, 2))?;
    bed.set_backends(&[(1, 1), (1, 2)])?;
    bed.lb.wait_for("no problem", |status| {
        status["problems"].as_array().is_some_and(Vec::is_empty)
    })?;
    Ok(())
}

#[test]
fn an_unknown_uplink_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    let directory = manifests.path().to_str().context("a plain path")?;
    let instance = fresh_instance();
    let command = lb(cluster.node(1), binary(), "run", &instance);
    let said = refusal(command, &["--manifests", directory, "--uplink", "eth7"])?;
    assert_says(&said, &["eth7", "--uplink", "eth0"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn a_missing_directory_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::start()?;
    let instance = fresh_instance();
    let command = lb(cluster.node(1), binary(), "run", &instance);
    let said = refusal(command, &["--manifests", "/nowhere", "--uplink", "eth0"])?;
    assert_says(&said, &["/nowhere", "create it"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn without_privileges_it_says_which_are_needed() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    let instance = fresh_instance();
    let mut command = cluster.node(1).command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(binary());
    command.args(["run", "--instance", &instance]);
    let said = refusal(command, &run_arguments(&manifests, &[]))?;
    assert_says(&said, &["CAP_BPF", "CAP_NET_ADMIN", "root"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn without_bpffs_it_says_how_to_mount_it() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    let instance = fresh_instance();
    let command = lb(cluster.node(1), binary(), "run", &instance);
    let mut arguments = run_arguments(&manifests, &[]);
    arguments.extend(["--bpffs", "/tmp"]);
    let said = refusal(command, &arguments)?;
    assert_says(&said, &["/tmp", "mount -t bpf"]);
    assert!(!Path::new("/tmp").join(&instance).exists());
    assert_nothing_left(&cluster, &instance)
}

/// A kernel that can't do what is needed is played by one in which `bpf(2)` is not allowed, as in
/// a user namespace of its own.
#[test]
fn a_kernel_that_refuses_bpf_is_reported_as_such() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = Manifests::new()?;
    let instance = fresh_instance();
    let mut command = cluster.node(1).command("unshare");
    command.args(["--user", "--map-root-user"]).arg(binary()).args([
        "run",
        "--instance",
        &instance,
    ]);
    let said = refusal(command, &run_arguments(&manifests, &[]))?;
    assert_says(&said, &["Linux 5.10", "CONFIG_BPF_SYSCALL", "the right to use it"]);
    assert_nothing_left(&cluster, &instance)
}

#[test]
fn a_table_that_is_full_is_reported_and_what_is_in_force_goes_on() -> Result<()> {
    // Four services (two protocols, two families): room for one backend each, and two more.
    let arguments = ["--max-backends", "6"];
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &arguments)?;
    let _more = [echo::serve(&bed.cluster, (1, 2))?, echo::serve(&bed.cluster, (2, 1))?];
    bed.manifests.write_endpoints(&bed.service, &echo::endpoints(&BACKENDS))?;
    bed.lb.wait_for_log("--max-backends")?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for _ in 0..5 {
                request(bed.cluster.pod(1, 3), protocol, cluster_ip(family), SOON)?;
            }
        }
    }
    bed.set_backends(&[(1, 1)])?;
    for family in Family::BOTH {
        request(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(family), SOON)?;
    }
    Ok(())
}

#[test]
fn a_second_one_of_the_same_name_is_refused_and_the_first_goes_on() -> Result<()> {
    let bed = Bed::standard()?;
    let command = lb(bed.cluster.node(1), binary(), "run", bed.lb.instance());
    let said = refusal(command, &run_arguments(&bed.manifests, &[]))?;
    assert_says(&said, &["another lb is running", "--instance"]);
    request(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    Ok(())
}

#[test]
fn a_stop_detaches_everything() -> Result<()> {
    let mut bed = Bed::standard()?;
    assert!(has_xdp(bed.cluster.node(1), "eth0")?);
    request(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    let status = bed.lb.stop()?;
    assert!(status.success(), "{}", bed.lb.log());
    assert_nothing_left(&bed.cluster, bed.lb.instance())
}

#[test]
fn status_of_an_instance_that_is_not_there_says_so() -> Result<()> {
    let output = Command::new(binary()).args(["status", "--instance", "nobody"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8(output.stderr)?, &["nobody", "lb run"]);
    Ok(())
}

#[test]
fn after_a_kill_traffic_goes_on_and_the_next_start_takes_over() -> Result<()> {
    for tc in ["auto", "filter"] {
        let arguments = ["--tc", tc];
        let Bed { lb, servers, manifests, service, cluster } =
            Bed::start(Cluster::start()?, &BACKENDS, &arguments)?;
        let mut sessions = Vec::new();
        for (client, target) in [
            (cluster.pod(1, 3), cluster_ip(Family::V4)),
            (cluster.outside(), node_port(Family::V4)),
            (cluster.outside(), node_port(Family::V6)),
        ] {
            for protocol in Protocol::BOTH {
                for _ in 0..6 {
                    let mut session = Session::open(client, protocol, target, SOON)?;
                    let first = session.ask()?;
                    sessions.push((session, first));
                }
            }
        }
        let instance = lb.kill()?;

        for (session, first) in &mut sessions {
            assert_eq!(session.ask()?, *first, "nobody is there, but the kernel goes on");
        }
        request(cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V6), SOON)?;

        // Endpoints change while nobody looks; the next one finds the difference.
        manifests.write_endpoints(&service, &echo::endpoints(&BACKENDS[..2]))?;
        let arguments = run_arguments(&manifests, &arguments);
        let mut lb = LoadBalancer::start_as(&instance, cluster.node(1), binary(), &arguments)?;
        for (session, first) in &mut sessions {
            if first.name != name(BACKENDS[2]) {
                assert_eq!(session.ask()?, *first, "the same flow after the take-over");
            }
        }
        for family in Family::BOTH {
            let tally = many(cluster.pod(1, 3), Protocol::Tcp, cluster_ip(family), 200, 4);
            tally.assert_all_answered();
            assert_fair(&tally, &[&name(BACKENDS[0]), &name(BACKENDS[1])]);
        }
        assert!(lb.stop()?.success(), "{}", lb.log());
        assert_nothing_left(&cluster, &instance)?;
        drop(servers);
    }
    Ok(())
}

#[test]
fn state_of_a_kill_is_no_hindrance_when_the_interfaces_are_gone() -> Result<()> {
    let first = Bed::standard()?;
    let Bed { lb, servers, manifests, cluster, .. } = first;
    let instance = lb.kill()?;
    drop((servers, cluster));
    let cluster = Cluster::start()?;
    let _servers = echo::serve(&cluster, (1, 1))?;
    manifests.write_endpoints(&echo::service(), &echo::endpoints(&[(1, 1)]))?;
    let arguments = run_arguments(&manifests, &[]);
    let lb = LoadBalancer::start_as(&instance, cluster.node(1), binary(), &arguments)?;
    request(cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    drop(lb);
    assert!(!fs::exists(Path::new(BPFFS).join(instance))?);
    Ok(())
}
