//! Services that leave everything open, and pods instead of slices, with real sockets: what is chosen works,
//! endpoints follow pods, and the next `lb` gives the same. Needs root.

mod common;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use common::{BACKENDS, BRIEFLY, Bed, SOON, binary, run_arguments};
use lb_tests::{
    echo::{self, name},
    lab::{Cluster, cast},
    process::LoadBalancer,
    traffic::{Protocol, request},
};
use serde_json::Value;

/// What `lb` has to give.
const ARGUMENTS: [&str; 10] = [
    "--node-name",
    "node1",
    "--service-cidr",
    "10.96.0.0/16",
    "--service-cidr",
    "fd00:96::/112",
    "--lb-pool",
    "10.97.0.0/24",
    "--lb-pool",
    "fd00:97::/64",
];

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: picked}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports:
  - {name: t, port: 80, targetPort: web}
  - {name: u, port: 80, targetPort: dgram, protocol: UDP}
";

fn pod(pod: echo::Pod, label: &str) -> String {
    let endpoints = echo::endpoints(&[pod]);
    let port = endpoints[0].address.port();
    let ips: Vec<_> =
        endpoints.iter().map(|one| format!("{{ip: \"{}\"}}", one.address.ip())).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, labels: {{app: {label}}}}}\nspec:\n  nodeName: \
         node{}\n  containers:\n  - name: c\n    ports: [{{name: web, containerPort: {port}}}, {{name: dgram, \
         containerPort: {port}, protocol: UDP}}]\nstatus: {{podIPs: [{}]}}\n",
        name(pod),
        pod.0,
        ips.join(", ")
    )
}

/// The object of the Service, once its services have so many endpoints each.
fn picked(lb: &LoadBalancer, endpoints: usize) -> Result<Value> {
    let status = lb.wait_for("endpoints of pods", |status| {
        let services = status["services"].as_array().into_iter().flatten();
        let mut ours = services.filter(|one| one["service"] == "default/picked").peekable();
        ours.peek().is_some()
            && ours.all(|one| one["backends"].as_array().map(Vec::len) == Some(endpoints))
    })?;
    let objects = status["objects"].as_array().context("objects")?;
    let ours = objects.iter().find(|object| object["service"] == "default/picked");
    ours.cloned().context("the object")
}

/// Addresses of the Service: its cluster IPs, then its node ports on node 1, then its load balancer's.
fn addresses(object: &Value, ingress: bool) -> Result<Vec<SocketAddr>> {
    let mut texts: Vec<&Value> = object["clusterIPs"].as_array().into_iter().flatten().collect();
    if ingress {
        let all = object["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        texts.extend(all.map(|ingress| &ingress["ip"]));
    }
    let address =
        |text: &Value| Ok(SocketAddr::new(text.as_str().context("an address")?.parse()?, 80));
    texts.into_iter().map(address).collect()
}

#[test]
fn what_a_service_is_given_works_follows_pods_and_is_the_same_after_a_kill() -> Result<()> {
    let Bed { lb, servers: _servers, manifests, cluster, .. } =
        Bed::start(Cluster::start()?, &BACKENDS, &ARGUMENTS)?;
    manifests.write("picked.yaml", SERVICE)?;
    for one in BACKENDS {
        manifests.write(&format!("{}.yaml", name(one)), &pod(one, "echo"))?;
    }
    let object = picked(&lb, 3)?;
    let reached = addresses(&object, true)?;
    assert_eq!(reached.len(), 4, "{object}");
    let node_port = object["nodePorts"]["t"].as_u64().context("a node port")?;
    assert_eq!(object["nodePorts"]["u"], node_port, "one number for both protocols");
    let client = cluster.pod(1, 3);
    for protocol in Protocol::BOTH {
        for target in &reached {
            request(client, protocol, *target, SOON)?;
        }
        let target = cast::NODE1.socket(cast::Family::V4, u16::try_from(node_port)?);
        request(cluster.outside(), protocol, target, SOON)?;
    }

    for one in &BACKENDS[1..] {
        manifests.write(&format!("{}.yaml", name(*one)), &pod(*one, "other"))?;
    }
    assert_eq!(picked(&lb, 1)?, object);
    for _ in 0..10 {
        let answer = request(client, Protocol::Tcp, reached[0], SOON)?;
        assert_eq!(answer.name, name(BACKENDS[0]));
    }

    let instance = lb.instance().to_owned();
    lb.kill()?;
    let lb = LoadBalancer::start_as(
        &instance,
        cluster.node(1),
        binary(),
        &run_arguments(&manifests, &ARGUMENTS),
    )?;
    assert_eq!(picked(&lb, 1)?, object);
    manifests.remove("picked.yaml")?;
    lb.wait_for("the Service's end", |status| {
        status["objects"].as_array().is_some_and(|objects| objects.len() == 1)
    })?;
    assert!(request(client, Protocol::Tcp, reached[0], BRIEFLY).is_err());
    Ok(())
}
