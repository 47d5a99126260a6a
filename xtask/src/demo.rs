//! `cargo xtask demo`: a small cluster of network namespaces on this machine, `lb` on its first
//! node, real requests through it, and a table of who answered.

mod report;

use std::{
    ffi::OsStr,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lb_tests::{
    echo::{self, Pod, name},
    lab::{
        Cluster, Lab,
        cast::{self, Family},
    },
    manifests::Manifests,
    process::LoadBalancer,
    traffic::{EchoServer, Protocol, Session, many, request},
};

use crate::{build, command, root::Root, setup};
use report::Report;

/// Show the main job: a cluster of namespaces, lb on a node, real requests, who answered
///
/// Builds everything, installing what it needs. Nothing of this machine's own network is touched:
/// the cluster lives in network namespaces and goes away at the end.
#[derive(Args)]
pub struct Options {
    /// Leave the cluster up at the end, and say what to try in it
    #[arg(long)]
    keep: bool,

    /// Requests for each row of the table
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    requests: u64,

    /// The `lb` binary, when it is built already (the part that runs as root is told by this)
    #[arg(long, hide = true)]
    binary: Option<PathBuf>,

    /// Show; without it, watch over a process that shows
    #[arg(long, hide = true, requires = "binary")]
    show: bool,
}

const NAME: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(5);
/// For requests that are expected to fail.
const BRIEFLY: Duration = Duration::from_millis(500);

/// The pods behind the service: two on the node that runs `lb`, one elsewhere.
const BACKENDS: [Pod; 3] = [(1, 1), (1, 2), (2, 1)];
/// The backend that is removed.
const REMOVED: Pod = (1, 2);
/// The pod that is a client.
const CLIENT: Pod = (1, 3);

/// Builds as whoever calls, then shows as root.
pub fn run(options: &Options) -> Result<()> {
    if let Some(binary) = &options.binary {
        return if options.show { show(binary, options) } else { watch_over(binary, options) };
    }
    setup::for_lab()?;
    let binary = build::lb(false, &[])?;
    let root = Root::attended()
        .context("the demo needs root for its network namespaces; run: sudo -E cargo xtask demo")?;
    if root == Root::Ours {
        return watch_over(&binary, options);
    }
    command::run(&mut again(root, &binary, options)?)
}

/// The command that goes on as root.
fn again(root: Root, binary: &Path, options: &Options) -> Result<Command> {
    let mut again = root.command(std::env::current_exe()?, [] as [(&str, &OsStr); 0]);
    again.args(["demo", "--requests", &options.requests.to_string(), "--binary"]).arg(binary);
    if options.keep {
        again.arg("--keep");
    }
    Ok(again)
}

/// Shows in a process of its own and cleans up after it, however it ends: one that is interrupted
/// has no time to.
fn watch_over(binary: &Path, options: &Options) -> Result<()> {
    ctrlc::set_handler(|| {}).context("can't wait for Ctrl-C")?;
    let status = again(Root::Ours, binary, options)?.arg("--show").status()?;
    // A lab of the same name takes away what an earlier one has left.
    drop(Lab::named(NAME)?);
    ensure!(status.success(), "the demo ended early ({status}); its cluster is removed");
    Ok(())
}

fn show(binary: &Path, options: &Options) -> Result<()> {
    step("a cluster of network namespaces: a client outside, two nodes, three pods on each");
    let cluster = Cluster::builder().nodes(2).pods(3).named(NAME).start()?;
    let mut servers = Vec::new();
    for pod in BACKENDS {
        servers.extend(echo::serve(&cluster, pod)?);
    }
    let service = echo::service();
    let manifests = Manifests::new()?;
    manifests.write_service(&service, &echo::endpoints(&BACKENDS))?;

    step("without lb, nobody answers at the service's addresses");
    expect_silence(&cluster)?;

    step(&format!("lb run --manifests {} --uplink eth0   (on node1)", manifests.path().display()));
    let mut lb = start(binary, &cluster, &manifests)?;

    step(&format!("{} requests for each row; who answered?", options.requests));
    let mut report = Report::new(&BACKENDS.map(name));
    ask_all(&cluster, options, &mut report)?;
    println!("{report}\n");

    step(&format!("{} is removed while connections are open", name(REMOVED)));
    let mut sessions = open_sessions(&cluster)?;
    let rest: Vec<Pod> = BACKENDS.into_iter().filter(|pod| *pod != REMOVED).collect();
    manifests.write_endpoints(&service, &echo::endpoints(&rest))?;
    lb.wait_for("the removal", |status| {
        let gone = cast::pod(REMOVED.0, REMOVED.1).v4.to_string();
        !status["services"].to_string().contains(&gone)
    })?;
    let mut report = Report::new(&BACKENDS.map(name));
    ask_all(&cluster, options, &mut report)?;
    println!("{report}\n");
    ensure!(report.answers_of(&name(REMOVED)) == 0, "the removed endpoint still got requests");
    let undisturbed = check_sessions(&mut sessions)?;
    println!("  {undisturbed} open connections to the other endpoints go on undisturbed\n");

    if options.keep {
        return leave(binary, cluster, servers, manifests, lb);
    }
    step("lb is stopped and detaches; again nobody answers");
    let status = lb.stop()?;
    ensure!(status.success(), "lb ended with {status}:\n{}", lb.log());
    expect_silence(&cluster)?;
    step("everything is removed");
    drop(sessions);
    drop(servers);
    drop(cluster);
    println!("\nEvery request was answered by way of the programs that lb had attached.");
    Ok(())
}

fn step(what: &str) {
    println!("• {what}");
    // Progress that can't be shown is no reason to stop.
    let _ = std::io::stdout().flush();
}

fn start(binary: &Path, cluster: &Cluster, manifests: &Manifests) -> Result<LoadBalancer> {
    let directory = manifests
        .path()
        .to_str()
        .context("the directory for temporary files has a strange name")?;
    let arguments = ["--manifests", directory, "--uplink", "eth0"];
    let name = format!("lb-{NAME}");
    Ok(LoadBalancer::start_as(&name, cluster.node(1), binary, &arguments)?)
}

/// Who asks whom: a pod the cluster IP, the outside the node port; each family and protocol.
fn conversations(
    cluster: &Cluster,
) -> Vec<(String, &lb_tests::lab::Namespace, SocketAddr, Protocol)> {
    let mut all = Vec::new();
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let (cluster_ip, node_port) = (echo::cluster_ip(family), echo::node_port(family));
            let pod = cluster.pod(CLIENT.0, CLIENT.1);
            all.push((format!("pod → ClusterIP {cluster_ip}"), pod, cluster_ip, protocol));
            let outside = cluster.outside();
            all.push((format!("outside → NodePort {node_port}"), outside, node_port, protocol));
        }
    }
    all
}

fn expect_silence(cluster: &Cluster) -> Result<()> {
    for (what, client, target, protocol) in conversations(cluster) {
        let answer = request(client, protocol, target, BRIEFLY);
        ensure!(answer.is_err(), "{what} {protocol} was answered without lb: {answer:?}");
    }
    Ok(())
}

fn ask_all(cluster: &Cluster, options: &Options, report: &mut Report) -> Result<()> {
    let conversations = conversations(cluster);
    let progress = report::progress(conversations.len() as u64);
    for (what, client, target, protocol) in conversations {
        progress.set_message(format!("{what} {protocol}"));
        let tally = many(client, protocol, target, options.requests, 8);
        ensure!(
            tally.answered() == options.requests,
            "{what} {protocol}: not every request was answered: {tally}"
        );
        report.add(what, protocol, &tally);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// Connections that stay open, with the endpoint that each is to.
fn open_sessions(cluster: &Cluster) -> Result<Vec<(String, Session)>> {
    let mut sessions = Vec::new();
    for (_, client, target, protocol) in conversations(cluster) {
        for _ in 0..6 {
            let mut session = Session::open(client, protocol, target, PATIENCE)?;
            let name = session.ask()?.name;
            sessions.push((name, session));
        }
    }
    Ok(sessions)
}

/// Asks on all connections whose endpoint is still there; returns how many those are.
fn check_sessions(sessions: &mut [(String, Session)]) -> Result<usize> {
    let removed = name(REMOVED);
    let mut undisturbed = 0;
    for (name, session) in sessions.iter_mut().filter(|(name, _)| *name != removed) {
        let answer = session.ask().context("an open connection was disturbed")?;
        ensure!(answer.name == *name, "a connection moved from {name} to {}", answer.name);
        undisturbed += 1;
    }
    Ok(undisturbed)
}

/// Keeps everything up until the operator has seen enough.
fn leave(
    binary: &Path,
    cluster: Cluster,
    servers: Vec<EchoServer>,
    manifests: Manifests,
    lb: LoadBalancer,
) -> Result<()> {
    let node = cluster.node(1).full_name().to_owned();
    let pod = cluster.pod(CLIENT.0, CLIENT.1).full_name().to_owned();
    println!("The cluster stays up until you press Enter. Try, as root, in another terminal:\n");
    println!("  {} status --instance {}", binary.display(), lb.instance());
    println!("  $EDITOR {}/echo-endpoints.yaml", manifests.path().display());
    let target = echo::cluster_ip(Family::V4);
    println!(
        "  ip netns exec {pod} bash -c 'exec 3<>/dev/tcp/{}/{}; echo hello >&3; head -1 <&3'",
        target.ip(),
        target.port()
    );
    println!("  ip netns exec {node} ip address\n");
    std::io::stdin().read_line(&mut String::new()).context("can't wait for Enter")?;
    drop((lb, servers, cluster, manifests));
    Ok(())
}
