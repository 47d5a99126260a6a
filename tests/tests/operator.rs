//! What an operator does beside writing manifests: leaves the uplinks to be found, writes a configuration file, and
//! looks at what new manifests would change. Needs root.

mod common;

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use common::{BACKENDS, Bed, SOON, binary};
use lb_tests::{
    echo::{self, node_port},
    lab::{
        Cluster,
        cast::{self, Family},
    },
    manifests::Manifests,
    process::LoadBalancer,
    traffic::{EchoServer, Protocol, request},
};
use serde_json::Value;

/// A cluster with the echo service on some pods, and its manifests.
fn cluster() -> Result<(Cluster, Vec<EchoServer>, Manifests)> {
    let cluster = Cluster::start()?;
    let mut servers = Vec::new();
    for pod in BACKENDS {
        servers.extend(echo::serve(&cluster, pod)?);
    }
    let manifests = Manifests::new()?;
    manifests.write_service(&echo::service(), &echo::endpoints(&BACKENDS))?;
    Ok((cluster, servers, manifests))
}

/// The uplinks and why they are, as `eth0: IPv4 default route`.
fn uplinks(status: &Value) -> Vec<String> {
    let all = status["uplinks"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|one| format!("{}: {}", text(&one["interface"]), text(&one["why"]))).collect()
}

#[test]
fn uplinks_are_found_and_come_and_go_with_addresses_and_default_routes() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let node = cluster.node(1);
    let directory = manifests.path().to_str().expect("a path of plain characters");
    let lb = LoadBalancer::start(node, binary(), &["--manifests", directory])?;
    let address = format!("eth0: address {}", cast::NODE1.ip(Family::V4));
    assert_eq!(uplinks(&lb.status()?), [address.as_str()], "pods' interfaces are veths, too");
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for _ in 0..10 {
                request(cluster.outside(), protocol, node_port(family), SOON)?;
            }
        }
    }

    let over = |family| format!("default via {}", cast::OUTSIDE.ip(family));
    node.ip(&format!("route add {}\n", over(Family::V4)))?;
    lb.wait_for("a route", |status| uplinks(status) == ["eth0: IPv4 default route"])?;
    node.ip(&format!("route add {}\n", over(Family::V6)))?;
    lb.wait_for("both families", |status| uplinks(status) == ["eth0: default routes"])?;
    // Of two that go one goes: what is left is known.
    node.ip(&format!("route add {} metric 77\n", over(Family::V4)))?;
    node.ip(&format!(
        "route del {} metric 77\nroute del {}\n",
        over(Family::V4),
        over(Family::V6)
    ))?;
    lb.wait_for("one family", |status| uplinks(status) == ["eth0: IPv4 default route"])?;

    node.ip("link add over1 type vxlan id 8 dstport 4790 dev eth0\nlink set over1 up\n")?;
    node.ip("route add default dev over1 metric 99\n")?;
    let both = ["eth0: IPv4 default route", "over1: IPv4 default route"];
    lb.wait_for("another uplink", |status| uplinks(status) == both)?;
    lb.wait_for("its programs", |status| attached(status, "over1") > 0)?;
    node.ip("route del default dev over1 metric 99\n")?;
    let status = lb.wait_for("its end", |status| uplinks(status) == both[..1])?;
    assert_eq!(attached(&status, "over1"), 0, "{status:#}");
    request(cluster.outside(), Protocol::Tcp, node_port(Family::V4), SOON)?;

    // The kernel takes the route along without a word.
    node.ip("address flush dev eth0 scope global\n")?;
    let status = lb.wait_for("no uplink", |status| uplinks(status).is_empty())?;
    let mut notes = status["notes"].as_array().into_iter().flatten();
    ensure!(notes.any(|note| note.to_string().contains("no uplink")), "{status:#}");
    Ok(())
}

/// How many programs are attached to an interface.
fn attached(status: &Value, interface: &str) -> usize {
    let all = status["attached"].as_array().into_iter().flatten();
    all.filter(|one| one["interface"] == interface).count()
}

#[test]
fn an_overlay_with_an_address_is_an_uplink_and_a_pods_gateway_is_none() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let node = cluster.node(1);
    let directory = manifests.path().to_str().expect("a path of plain characters");
    node.ip(&format!(
        "route add default via {}\n\
         link add cni0 type bridge\nlink set cni0 up\naddress add 10.77.0.1/24 dev cni0\n\
         link add over0 type vxlan id 7 dstport 4789 dev eth0\nlink set over0 up\n\
         address add 10.78.0.1/32 dev over0\n",
        cast::OUTSIDE.ip(Family::V4)
    ))?;
    let lb = LoadBalancer::start(node, binary(), &["--manifests", directory])?;
    let found = ["eth0: IPv4 default route", "over0: address 10.78.0.1"];
    assert_eq!(uplinks(&lb.status()?), found);
    node.ip("address del 10.78.0.1/32 dev over0\n")?;
    lb.wait_for("one uplink", |status| uplinks(status) == found[..1])?;
    Ok(())
}

#[test]
fn a_configuration_file_is_enough() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("lb.yaml");
    let text = format!(
        "manifests: {}\nuplinks: [eth0]\nxdp: \"off\"\nsampleEvents: 3\n",
        manifests.path().display()
    );
    fs::write(&file, text)?;
    let file = file.to_str().expect("a path of plain characters");
    let lb = LoadBalancer::start(cluster.node(1), binary(), &["--config", file])?;
    let status = lb.status()?;
    assert_eq!(uplinks(&status), ["eth0: named"]);
    let attached = status["attached"].as_array().into_iter().flatten();
    let xdp = attached.filter(|one| one["point"] == "uplink-xdp").count();
    assert_eq!(xdp, 0, "{status:#}");
    request(cluster.outside(), Protocol::Udp, node_port(Family::V4), SOON)?;
    Ok(())
}

/// A Service that leaves everything open.
const EXTRA: &str = "\
apiVersion: v1
kind: Service
metadata: {name: extra}
spec:
  type: NodePort
  ports: [{name: http, port: 80}]
";

/// What `lb plan` says of manifests, and that it touches nothing.
fn plan(lb: &LoadBalancer, manifests: &Manifests) -> Result<Value> {
    let files =
        [format!("/run/lb/{}.json", lb.instance()), format!("/var/lib/lb/{}.redb", lb.instance())];
    let read = || files.iter().map(fs::read).collect::<Result<Vec<_>, _>>();
    let (before, tables) = (read()?, lb.status()?["services"].clone());
    let mut command = Command::new(binary());
    command.arg("plan").arg(manifests.path()).args(["-o", "json", "--instance", lb.instance()]);
    let output = command.output()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(read()? == before, "the state was written");
    assert_eq!(lb.status()?["services"], tables);
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_plan_says_what_then_happens_and_changes_nothing_itself() -> Result<()> {
    let ranges = ["--service-cidr", "10.96.0.0/16", "--service-cidr", "fd00:96::/112"];
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &ranges)?;
    let nothing = plan(&bed.lb, &bed.manifests)?;
    assert_eq!(nothing["services"], serde_json::json!([]), "{nothing:#}");
    assert_eq!(nothing["unchanged"], 4, "two protocols, two families");
    assert_eq!(nothing["given"], serde_json::json!([]));

    let then = Manifests::new()?;
    then.write_service(&bed.service, &echo::endpoints(&BACKENDS[..2]))?;
    then.write("extra.yaml", EXTRA)?;
    let planned = plan(&bed.lb, &then)?;
    let services = planned["services"].as_array().context("services")?;
    let of =
        |change: &str| services.iter().filter(|one| one["change"] == change).collect::<Vec<_>>();
    let (changed, added) = (of("changed"), of("added"));
    assert_eq!((changed.len(), added.len(), services.len()), (4, 1, 5), "{planned:#}");
    for one in changed {
        let gone = one["endpoints"]["removed"].as_array().map(Vec::len);
        assert_eq!(
            (gone, &one["endpoints"]["added"]),
            (Some(1), &serde_json::json!([])),
            "{one:#}"
        );
        assert_eq!(one["frontends"]["removed"], serde_json::json!([]), "{one:#}");
    }
    let given = &planned["given"][0];
    assert_eq!(given["service"], "default/extra");
    assert_eq!(given["clusterIPs"].as_array().map(Vec::len), Some(1), "{planned:#}");
    let frontends = added[0]["frontends"]["added"].to_string();
    let node_port = given["nodePorts"]["http"].as_u64().context("a node port")?;
    ensure!(frontends.contains(&format!(":{node_port}/TCP")), "{frontends}");

    // What was planned is what comes of it.
    bed.manifests.write("extra.yaml", EXTRA)?;
    bed.manifests.write_endpoints(&bed.service, &echo::endpoints(&BACKENDS[..2]))?;
    let status = bed.lb.wait_for("the other Service and fewer endpoints", |status| {
        let services = status["services"].as_array().into_iter().flatten();
        let endpoints =
            services.map(|one| one["backends"].as_array().map_or(0, Vec::len)).sum::<usize>();
        let objects = status["objects"].as_array().map(Vec::len);
        objects == Some(2) && endpoints == 2 * 4
    })?;
    let objects = status["objects"].as_array().into_iter().flatten();
    let extra = objects.clone().find(|one| one["service"] == "default/extra").context("extra")?;
    assert_eq!(
        (&extra["clusterIPs"], &extra["nodePorts"]),
        (&given["clusterIPs"], &given["nodePorts"])
    );
    let nothing = plan(&bed.lb, &then)?;
    assert_eq!(nothing["services"], serde_json::json!([]), "{nothing:#}");
    assert_eq!(nothing["unchanged"], 5);

    then.remove("extra.yaml")?;
    let removed = plan(&bed.lb, &then)?;
    assert_eq!(removed["services"].as_array().map(Vec::len), Some(1), "{removed:#}");
    assert_eq!(removed["services"][0]["change"], "removed");
    Ok(())
}

#[test]
fn a_plan_knows_policies_affinity_and_source_ranges_as_they_are_in_force() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &["--node-name", "node1"])?;
    let service = |spec: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: rules}}\nspec:\n  type: LoadBalancer\n  clusterIP: \
             10.99.0.7\n  ports: [{{port: 80, nodePort: 30777}}]\n{spec}status: {{loadBalancer: {{ingress: [{{ip: \
             203.0.113.7}}]}}}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: \
             rules-1, labels: {{kubernetes.io/service-name: rules}}}}\naddressType: IPv4\nports: [{{port: \
             8080}}]\nendpoints: [{{addresses: [10.244.1.1], nodeName: node1}}, {{addresses: [10.244.2.1]}}]\n"
        )
    };
    let strict = "  externalTrafficPolicy: Local\n  sessionAffinity: ClientIP\n  loadBalancerSourceRanges: \
                  [10.0.0.0/8]\n";
    bed.manifests.write("rules.yaml", &service(strict))?;
    bed.lb.wait_for("the Service", |status| {
        status["objects"].as_array().is_some_and(|objects| objects.len() == 2)
    })?;
    let nothing = plan(&bed.lb, &bed.manifests)?;
    assert_eq!(nothing["services"], serde_json::json!([]), "{nothing:#}");

    let then = Manifests::new()?;
    then.write_service(&bed.service, &echo::endpoints(&BACKENDS))?;
    then.write("rules.yaml", &service(""))?;
    let planned = plan(&bed.lb, &then)?;
    assert_eq!(planned["services"].as_array().map(Vec::len), Some(1), "{planned:#}");
    let one = &planned["services"][0];
    assert_eq!(one["external"]["added"], serde_json::json!(["10.244.2.1:8080"]), "{one:#}");
    assert_eq!(one["sourceRanges"]["removed"], serde_json::json!(["10.0.0.0/8"]));
    assert_eq!(
        one["rules"],
        serde_json::json!([{ "what": "affinity", "before": "10800 s", "after": "none" }])
    );
    Ok(())
}
