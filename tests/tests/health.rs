//! Health checks as load balancers and kubelets ask them, over real connections: at a Service's own port, and
//! at the node's; and on which addresses of a node they and node ports are. Needs root.

mod common;

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use common::{BACKENDS, BRIEFLY, Bed, SOON};
use lb_tests::{
    echo::{self, NODE_PORT, Pod},
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    manifests::Endpoint,
    patience::patient,
    traffic::{HttpAnswer, Protocol, get, request},
};

/// Where the node itself is asked about.
const HEALTHZ: u16 = 10256;

const NODE: &str = "\
apiVersion: v1
kind: Node
metadata: {name: node1}
spec:
  taints:
";

/// The echo service as a load balancer whose policy is Local, with these lines in its spec.
fn bed(spec: &str, arguments: &[&str]) -> Result<Bed> {
    let arguments = [&["--node-name", "node1"], arguments].concat();
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &arguments)?;
    write(&bed, spec)?;
    set_endpoints(&bed, &BACKENDS)?;
    Ok(bed)
}

fn write(bed: &Bed, spec: &str) -> Result<()> {
    let spec = format!("  type: LoadBalancer\n  externalTrafficPolicy: Local\n{spec}");
    let yaml = bed.service.to_yaml().replace("  type: NodePort\n", &spec);
    bed.manifests.write("echo.yaml", &yaml)?;
    Ok(())
}

fn set_endpoints(bed: &Bed, pods: &[Pod]) -> Result<()> {
    let endpoints: Vec<Endpoint> = pods
        .iter()
        .flat_map(|pod| echo::endpoints(&[*pod]).into_iter().map(|one| one.on(pod.0)))
        .collect();
    bed.manifests.write_endpoints(&bed.service, &endpoints)?;
    Ok(())
}

fn at_node(family: Family, port: u16) -> SocketAddr {
    cast::NODE1.socket(family, port)
}

/// Asks until the answer is so.
fn ask_until(
    client: &Namespace,
    target: SocketAddr,
    path: &str,
    wanted: impl Fn(&HttpAnswer) -> bool,
) -> Result<HttpAnswer> {
    let deadline = Instant::now() + patient(Duration::from_secs(20));
    loop {
        let answer = get(client, target, path, SOON);
        if let Ok(answer) = &answer
            && wanted(answer)
        {
            return Ok(answer.clone());
        }
        if Instant::now() > deadline {
            bail!("{target}{path} answers {answer:?}");
        }
        std::thread::sleep(Duration::from_millis(10)); // tidy: polls with a deadline
    }
}

#[test]
fn a_balancer_learns_at_the_services_port_how_many_endpoints_the_node_has() -> Result<()> {
    let bed = bed("", &[])?;
    let status = bed.lb.wait_for("a port for health checks", |status| {
        status["objects"][0]["healthCheckNodePort"].is_u64()
    })?;
    let port =
        u16::try_from(status["objects"][0]["healthCheckNodePort"].as_u64().context("port")?)?;
    assert!((30000..=32767).contains(&port), "{port}");
    let outside = bed.cluster.outside();
    for family in Family::BOTH {
        let target = at_node(family, port);
        let answer = ask_until(outside, target, "/", |answer| answer.status == 200)?;
        assert_eq!(
            answer.body,
            serde_json::json!({
                "service": { "namespace": "default", "name": "echo" },
                "localEndpoints": 2,
                "serviceProxyHealthy": true,
            })
        );
        assert_eq!(answer.headers["x-load-balancing-endpoint-weight"], "2");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    bed.lb.wait_for("the server to be told", |status| {
        let health = status["health"].as_array().into_iter().flatten();
        let mut ours = health.filter(|one| one["subject"] == "default/echo");
        ours.any(|one| one["localEndpoints"] == 2 && one["problem"].is_null())
    })?;

    set_endpoints(&bed, &[(2, 1)])?;
    let target = at_node(Family::V4, port);
    let answer = ask_until(outside, target, "/", |answer| answer.status == 503)?;
    assert_eq!(answer.body["localEndpoints"], 0);
    assert_eq!(answer.headers["x-load-balancing-endpoint-weight"], "0");
    set_endpoints(&bed, &[(2, 1), (1, 2)])?;
    ask_until(outside, target, "/", |answer| {
        answer.headers["x-load-balancing-endpoint-weight"] == "1"
    })?;

    // Without the policy, nobody answers.
    bed.manifests.write("echo.yaml", &bed.service.to_yaml())?;
    bed.lb.wait_for("the end of health checks", |status| {
        status["objects"][0]["healthCheckNodePort"].is_null()
    })?;
    let deadline = Instant::now() + patient(SOON);
    while get(outside, target, "/", BRIEFLY).is_ok() {
        assert!(Instant::now() < deadline, "{target} still answers");
    }
    Ok(())
}

#[test]
fn a_node_that_is_to_be_removed_gets_no_traffic_and_lives_on() -> Result<()> {
    let bed = bed("  healthCheckNodePort: 31999\n", &[])?;
    let client = bed.cluster.outside();
    let taint = |key: &str| format!("{NODE}  - {{key: {key}, effect: NoSchedule}}\n");
    for family in Family::BOTH {
        let node = at_node(family, HEALTHZ);
        bed.manifests.write("node.yaml", &taint("example.com/other"))?;
        let well = ask_until(client, node, "/healthz", |answer| answer.status == 200)?;
        assert_eq!(well.body["nodeEligible"], true);
        assert_eq!(well.body["lastUpdated"], well.body["currentTime"]);
        bed.manifests.write("node.yaml", &taint("ToBeDeletedByClusterAutoscaler"))?;
        let leaving = ask_until(client, node, "/healthz", |answer| answer.status == 503)?;
        assert_eq!(leaving.body["nodeEligible"], false);
        let live = get(client, node, "/livez", SOON)?;
        assert_eq!((live.status, live.body.get("nodeEligible")), (200, None));
        // Balancers that ask for endpoints are still sent here: what is open goes on.
        let service =
            ask_until(client, at_node(family, 31999), "/", |answer| answer.status == 200)?;
        assert_eq!(service.body["serviceProxyHealthy"], true);
        assert_eq!(get(client, node, "/other", SOON)?.status, 404);
    }
    Ok(())
}

#[test]
fn a_change_that_does_not_come_into_force_makes_every_check_fail_until_it_does() -> Result<()> {
    let arguments = ["--max-backends", "16", "--health-timeout", "1"];
    let bed = bed("  healthCheckNodePort: 31999\n", &arguments)?;
    let client = bed.cluster.outside();
    let (node, service) = (at_node(Family::V4, HEALTHZ), at_node(Family::V4, 31999));
    ask_until(client, service, "/", |answer| answer.status == 200)?;
    let too_many: Vec<Pod> = (1..=30).map(|pod| (2, pod)).chain(BACKENDS).collect();
    set_endpoints(&bed, &too_many)?;
    bed.lb.wait_for_log("services could not be updated")?;
    for path in ["/healthz", "/livez"] {
        let ill = ask_until(client, node, path, |answer| answer.status == 503)?;
        assert_ne!(ill.body["lastUpdated"], ill.body["currentTime"], "{path}");
    }
    let ill = ask_until(client, service, "/", |answer| answer.status == 503)?;
    assert_eq!(ill.body["serviceProxyHealthy"], false);
    assert_eq!(ill.body["localEndpoints"], 2, "as what is in force has it");
    set_endpoints(&bed, &BACKENDS)?;
    ask_until(client, service, "/", |answer| answer.status == 200)?;
    ask_until(client, node, "/healthz", |answer| answer.status == 200)?;
    Ok(())
}

#[test]
fn a_port_that_somebody_has_is_named_and_served_as_soon_as_it_is_free() -> Result<()> {
    let cluster = Cluster::start()?;
    let taken = {
        let _inside = cluster.node(1).enter()?;
        TcpListener::bind("0.0.0.0:31999")?
    };
    let bed = Bed::start(cluster, &BACKENDS, &["--node-name", "node1"])?;
    write(&bed, "  healthCheckNodePort: 31999\n")?;
    set_endpoints(&bed, &BACKENDS)?;
    bed.lb.wait_for_log("can't serve the Service's health checks")?;
    let log = bed.lb.log();
    let line = log.lines().find(|line| line.contains("health checks")).context("the warning")?;
    for word in ["default/echo", "31999", "healthCheckNodePort"] {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
    let problem = |status: &serde_json::Value| {
        let health = status["health"].as_array().into_iter().flatten();
        let ours = health.filter(|one| one["subject"] == "default/echo");
        ours.map(|one| one["problem"].clone()).next()
    };
    bed.lb.wait_for("the problem to be told", |status| {
        problem(status).is_some_and(|problem| problem.is_string())
    })?;
    let client = bed.cluster.outside();
    ask_until(client, at_node(Family::V4, HEALTHZ), "/healthz", |answer| answer.status == 200)?;
    drop(taken);
    ask_until(client, at_node(Family::V6, 31999), "/", |answer| answer.status == 200)?;
    bed.lb.wait_for("the problem to be gone", |status| {
        problem(status).is_some_and(|problem| problem.is_null())
    })?;
    Ok(())
}

/// Whether some frontend is at an address.
fn is_served(status: &serde_json::Value, address: SocketAddr) -> bool {
    status["services"].to_string().contains(&format!("{address}/TCP"))
}

#[test]
fn node_ports_and_health_checks_are_where_the_operator_wants_them_as_addresses_come_and_go()
-> Result<()> {
    let wanted = ["--nodeport-addresses", "192.0.2.100/30"];
    let bed = bed("  healthCheckNodePort: 31999\n", &wanted)?;
    let client = bed.cluster.outside();
    let at = |port| SocketAddr::new([192, 0, 2, 101].into(), port);
    // A family without a range has all of its addresses.
    ask_until(client, at_node(Family::V6, 31999), "/", |answer| answer.status == 200)?;
    for protocol in Protocol::BOTH {
        request(client, protocol, at_node(Family::V6, NODE_PORT), SOON)?;
        let other = request(client, protocol, at_node(Family::V4, NODE_PORT), BRIEFLY);
        assert!(other.is_err(), "{protocol}: {other:?}");
    }
    assert!(get(client, at_node(Family::V4, 31999), "/", BRIEFLY).is_err());
    assert!(!is_served(&bed.lb.status()?, at_node(Family::V4, NODE_PORT)));

    bed.cluster.node(1).ip("addr add 192.0.2.101/24 dev eth0\n")?;
    bed.lb.wait_for("the new address", |status| is_served(status, at(NODE_PORT)))?;
    for protocol in Protocol::BOTH {
        request(client, protocol, at(NODE_PORT), SOON)?;
    }
    ask_until(client, at(31999), "/", |answer| answer.status == 200)?;

    bed.cluster.node(1).ip("addr del 192.0.2.101/24 dev eth0\n")?;
    bed.lb.wait_for("the address to go", |status| {
        !is_served(status, at(NODE_PORT))
            && !status["health"].to_string().contains(&at(31999).to_string())
    })?;
    Ok(())
}
