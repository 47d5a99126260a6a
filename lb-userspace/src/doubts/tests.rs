//! Manifests as people write them, and what is doubted about each.

use std::fs;

use super::*;
use crate::{
    control::{Config, ControlPlane},
    source::manifests::examine,
};

const RANGE: &str = "10.96.0.0/16";

/// A Service whose spec begins like this, and goes on with a port and what is given.
fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  clusterIP: 10.96.0.1\n  ports: \
         [{{name: http, port: 80, nodePort: 30080}}]\n  type: NodePort\n{spec}"
    )
}

fn slice(name: &str, service: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\n\
         endpoints: [{endpoints}]\n"
    )
}

const HERE: &str = "{addresses: [10.1.0.1], nodeName: node1}";

/// What is doubted, on node1, where sockets have TCP port 30090.
fn doubted(text: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("all.yaml"), text).unwrap();
    let ranges: Vec<IpRange> = vec![RANGE.parse().unwrap()];
    let mut control = ControlPlane::new(Config { ranges: ranges.clone(), ..Config::default() });
    let examined = examine(directory.path(), &mut control).unwrap();
    assert_eq!(examined.snapshot.problems, [], "{text}");
    let node = Some("node1");
    let desired = desired(&examined.snapshot, node, &ranges);
    let listening = BTreeSet::from([(Protocol::Tcp, 30090)]);
    let facts = Facts {
        objects: &examined.objects,
        snapshot: &examined.snapshot,
        desired: &desired,
        node,
        ranges: &ranges,
        listening: &listening,
    };
    doubts(&facts).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(doubted(text), expected, "{text}");
}

#[test]
fn a_service_with_endpoints_is_not_doubted() {
    check(&(service("") + &slice("web-1", "web", HERE)), &[]);
}

#[test]
fn services_that_nobody_answers_for_are_doubted_once() {
    check(&service(""), &["Service default/web: spec: has no endpoints: clients are refused"]);
    let unready = "{addresses: [10.1.0.1], conditions: {ready: false}}";
    check(
        &(service("") + &slice("web-1", "web", unready)),
        &[
            "Service default/web: spec: no endpoint is ready and has a port of this name: clients are refused",
        ],
    );
    check(
        &service("  selector: {app: web, tier: a}\n"),
        &[
            "Service default/web: spec.selector: no pod in namespace default has app=web, tier=a: clients are \
           refused",
        ],
    );
}

#[test]
fn a_port_that_no_endpoint_has_is_doubted() {
    let two = service("").replace("nodePort: 30080}", "nodePort: 30080}, {name: admin, port: 81}");
    check(
        &(two + &slice("web-1", "web", HERE)),
        &[
            "Service default/web: spec.ports[1]: no IPv4 endpoint has port admin: clients are refused there",
        ],
    );
}

#[test]
fn a_local_policy_without_an_endpoint_here_is_doubted() {
    let policies = "  internalTrafficPolicy: Local\n  externalTrafficPolicy: Local\n";
    check(&(service(policies) + &slice("web-1", "web", HERE)), &[]);
    let elsewhere = HERE.replace("node1", "node2");
    check(
        &(service(policies) + &slice("web-1", "web", &elsewhere)),
        &[
            "Service default/web: spec.externalTrafficPolicy: Local, and no endpoint is on node1: clients are \
             dropped there",
            "Service default/web: spec.internalTrafficPolicy: Local, and no endpoint is on node1: clients are \
             dropped there",
        ],
    );
}

#[test]
fn a_node_port_that_a_socket_has_is_doubted() {
    let text = service("").replace("30080", "30090") + &slice("web-1", "web", HERE);
    check(
        &text,
        &[
            "Service default/web: spec.ports[0].nodePort: a socket of this machine has TCP port 30090: clients \
           of the node port never reach it",
        ],
    );
    let udp = text.replace("nodePort: 30090", "nodePort: 30090, protocol: UDP");
    check(&udp.replace("port: 8080", "port: 8080, protocol: UDP"), &[]);
}

#[test]
fn endpoints_that_stand_twice_are_doubted() {
    let twice = format!("{HERE}, {HERE}");
    check(
        &(service("") + &slice("web-1", "web", &twice)),
        &[
            "EndpointSlice default/web-1: endpoints[1].addresses[0]: 10.1.0.1 stands twice in this slice, and \
           counts once",
        ],
    );
    check(
        &(service("") + &slice("web-1", "web", HERE) + &slice("web-2", "web", HERE)),
        &[
            "EndpointSlice default/web-2: endpoints[0].addresses[0]: 10.1.0.1 stands in EndpointSlice \
           default/web-1 too, and counts once",
        ],
    );
}

#[test]
fn endpoints_of_nobody_and_at_addresses_of_no_machine_are_doubted() {
    let text = service("  externalIPs: [192.0.2.7]\n") + &slice("web-1", "web", HERE);
    check(
        &(text.clone() + &slice("x-1", "x", HERE)),
        &[
            "EndpointSlice default/x-1: metadata.labels[kubernetes.io/service-name]: there is no Service default/x",
        ],
    );
    for (address, why) in [
        ("10.96.7.7", "is of the cluster IPs' range 10.96.0.0/16, which no machine has"),
        ("192.0.2.7", "is where Service default/web is reached, not a machine's"),
    ] {
        let more = slice("web-2", "web", &format!("{{addresses: [{address}]}}"));
        let expected =
            format!("EndpointSlice default/web-2: endpoints[0].addresses[0]: {address} {why}");
        check(&(text.clone() + &more), &[&expected]);
    }
}

#[test]
fn rules_that_guard_or_serve_less_than_it_seems_are_doubted() {
    let of = |spec: &str| {
        let text = service(spec).replace("type: NodePort", "type: LoadBalancer");
        let status = "status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}\n";
        doubted(&(text + status + &slice("web-1", "web", HERE)))
    };
    assert_eq!(of("  loadBalancerSourceRanges: [10.0.0.0/8]\n"), [""; 0]);
    assert_eq!(
        of("  loadBalancerSourceRanges: [0.0.0.0/0]\n"),
        ["Service default/web: spec.loadBalancerSourceRanges: 0.0.0.0/0 admits everybody"]
    );
    assert_eq!(
        of("  loadBalancerSourceRanges: [\"2001:db8::/64\"]\n"),
        [
            "Service default/web: spec.loadBalancerSourceRanges: has no IPv4 range: everybody is admitted over IPv4"
        ]
    );
    assert_eq!(
        of("  externalIPs: [\"2001:db8::7\"]\n"),
        [
            "Service default/web: spec.externalIPs[0]: 2001:db8::7 is not served: the Service has no cluster IP \
          of its family"
        ]
    );
}

#[test]
fn a_load_balancer_without_an_address_and_endpoints_that_do_not_count_are_doubted() {
    let text = service("  loadBalancerIP: 203.0.113.9\n").replace("NodePort\n", "LoadBalancer\n");
    let found = doubted(&(text + &slice("web-1", "web", HERE)));
    // Without pools load balancers are somebody else's.
    assert_eq!(found, [""; 0]);
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {nodeName: node1, \
               containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\nstatus: {podIP: 10.1.0.1}\n";
    let older = "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets: [{addresses: [{ip: \
                 10.1.0.2}], ports: [{name: http, port: 8080}]}]\n";
    check(
        &(service("  selector: {app: web}\n") + pod + older),
        &[
            "Endpoints default/web: subsets: don't count: the Service has a selector, and its endpoints are the \
           pods that it picks",
        ],
    );
}
