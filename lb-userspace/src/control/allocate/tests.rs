//! What Services are given, one step after the other, and what is said of those who are refused.

mod health;
mod properties;

use serde_json::json;

use super::*;
use crate::{control::Pool, model::NODE_PORTS};

/// A control plane's memory, and what there is to give.
struct World {
    config: Config,
    ledger: Ledger,
    services: Services,
}

fn config(ranges: &[&str], pools: &[&str]) -> Config {
    Config {
        ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        node_ports: NODE_PORTS,
        pools: pools.iter().map(|text| text.parse::<Pool>().unwrap()).collect(),
    }
}

fn service(name: &str, spec: &serde_json::Value) -> Arc<Service> {
    let mut spec = spec.clone();
    if spec.get("ports").is_none() && spec["type"] != "ExternalName" {
        spec["ports"] = json!([{ "port": 80 }]);
    }
    let annotations = spec.as_object_mut().unwrap().remove("annotations");
    let metadata = json!({ "name": name, "annotations": annotations });
    let object = json!({ "metadata": metadata, "spec": spec });
    Arc::new(Service::try_from(&serde_json::from_value(object).unwrap()).unwrap())
}

impl World {
    fn new(ranges: &[&str], pools: &[&str]) -> Self {
        let config = config(ranges, pools);
        Self { config, ledger: Ledger::new(), services: Services::new() }
    }

    /// Deals out to these Services and no others; what is refused, a line each.
    fn step(&mut self, services: &[Arc<Service>]) -> Vec<String> {
        self.step_with(services, &BTreeSet::new())
    }

    fn step_with(
        &mut self,
        services: &[Arc<Service>],
        absent: &BTreeSet<ServiceName>,
    ) -> Vec<String> {
        let services = services.iter().map(|one| (one.name.clone(), one.clone())).collect();
        let before = Before { ledger: &self.ledger, services: &self.services, absent };
        let dealt = allocate(&services, before, &self.config);
        self.ledger = dealt.ledger;
        self.services = dealt.services;
        let refused = dealt.refused.iter();
        let refused = refused.map(|one| format!("{}: {}", one.object.name, one.invalid));
        let pending = dealt.pending.iter().map(|(name, why)| format!("{}: {why}", name.name));
        refused.chain(pending).collect()
    }

    fn get(&self, name: &str) -> &Service {
        &self.services[&ServiceName::new("default", name)]
    }

    fn ips(&self, name: &str) -> Vec<String> {
        self.get(name).cluster_ips.iter().map(ToString::to_string).collect()
    }

    fn balancer(&self, name: &str) -> Vec<String> {
        self.get(name).traffic.load_balancer_ips.iter().map(ToString::to_string).collect()
    }

    fn node_ports(&self, name: &str) -> Vec<u16> {
        self.get(name).ports.iter().map(|port| port.node_port.map_or(0, Port::get)).collect()
    }
}

const V4: &str = "10.96.0.0/24";
const V6: &str = "fd00:96::/112";

fn families(world: &World, name: &str) -> String {
    let letter = |ip: &IpAddr| if ip.is_ipv4() { '4' } else { '6' };
    world.get(name).cluster_ips.iter().map(letter).collect()
}

#[test]
fn families_are_given_as_fields_and_ranges_have_it() {
    let given = |ranges: &[&str], spec: serde_json::Value| {
        let mut world = World::new(ranges, &[]);
        match world.step(&[service("a", &spec)]).pop() {
            None => families(&world, "a"),
            Some(refused) => refused,
        }
    };
    assert_eq!(given(&[V4, V6], json!({})), "4");
    assert_eq!(given(&[V6, V4], json!({})), "6");
    assert_eq!(given(&[V4, V6], json!({ "ipFamilies": ["IPv6"] })), "6");
    assert_eq!(given(&[V4, V6], json!({ "ipFamilyPolicy": "PreferDualStack" })), "46");
    assert_eq!(given(&[V4], json!({ "ipFamilyPolicy": "PreferDualStack" })), "4");
    let both = json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"] });
    assert_eq!(given(&[V4, V6], both.clone()), "64");
    let written = json!({ "ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd00:96::7" });
    assert_eq!(given(&[V4, V6], written), "64");
    assert_eq!(
        given(&[V6], both),
        "a: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for \
         dual-stack services; give --service-cidr a range of each family"
    );
    assert_eq!(
        given(&[V4], json!({ "ipFamilies": ["IPv6"] })),
        "a: spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster; give \
         --service-cidr a range of it"
    );
    assert!(given(&[], json!({})).starts_with(
        "a: spec.clusterIP: Required value: there is no range of IPv4 cluster IPs to choose from"
    ));
    assert_eq!(
        given(&[V4], json!({ "clusterIP": "10.96.0.255" })),
        "a: spec.clusterIPs[0]: Invalid value: \"10.96.0.255\": failed to allocate IP 10.96.0.255: the \
         provided IP (10.96.0.255) is not in the valid range. The range of valid IPs is 10.96.0.0/24; \
         write one of these, or give another --service-cidr"
    );
}

#[test]
fn what_was_given_stays_and_may_not_change() {
    let mut world = World::new(&[V4, V6], &[]);
    assert_eq!(world.step(&[service("m", &json!({ "type": "NodePort" }))]), [""; 0]);
    let (ips, ports) = (world.ips("m"), world.node_ports("m"));
    assert!((30086..=32767).contains(&ports[0]), "{ports:?}");
    // Others come, and one is there that would rather have the same.
    let taken = service("b", &json!({ "clusterIP": ips[0] }));
    let port = json!({ "type": "NodePort", "ports": [{ "port": 1, "nodePort": ports[0] }] });
    let refused =
        world.step(&[service("m", &json!({ "type": "NodePort" })), taken, service("c", &port)]);
    assert_eq!(
        refused,
        [
            format!(
                "b: spec.clusterIPs[0]: Invalid value: \"{}\": provided IP is already allocated, to Service \
                 default/m; choose another one",
                ips[0]
            ),
            format!(
                "c: spec.ports[0].nodePort: Invalid value: {}: provided port is already allocated, to \
                 Service default/m; choose another one",
                ports[0]
            ),
        ]
    );
    assert_eq!((world.ips("m"), world.node_ports("m")), (ips.clone(), ports));
    assert_eq!(
        world.step(&[service("m", &json!({ "clusterIP": "10.96.0.3" }))]),
        [
            "m: spec.clusterIPs[0]: Invalid value: [10.96.0.3]: may not change once set; to change it, remove \
          the Service and make it anew"
        ]
    );
    assert_eq!(world.ips("m"), ips, "it stays as it was");
    assert_eq!(
        world.step(&[service("m", &json!({ "clusterIP": "None" }))]),
        [
            "m: spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set; to change it, remove \
          the Service and make it anew"
        ]
    );
    assert_eq!(
        world.step(&[service("m", &json!({ "ipFamilies": ["IPv6"] }))]),
        [
            "m: spec.ipFamilies[0]: Invalid value: \"IPv6\": may not change once set; to change it, remove \
          the Service and make it anew"
        ]
    );
    assert_eq!(
        world.step(&[service("m", &json!({ "ipFamilyPolicy": "PreferDualStack" }))]),
        [""; 0]
    );
    assert_eq!((families(&world, "m"), &world.ips("m")[0]), ("46".to_owned(), &ips[0]));
    assert_eq!(world.step(&[service("m", &json!({ "ipFamilyPolicy": "SingleStack" }))]), [""; 0]);
    assert_eq!(world.ips("m"), ips, "the second one is given up");
    let name = json!({ "type": "ExternalName", "externalName": "example.com" });
    assert_eq!(world.step(&[service("m", &name)]), [""; 0]);
    assert_eq!(world.step(&[service("m", &json!({ "clusterIP": "10.96.0.3" }))]), [""; 0]);
}

#[test]
fn who_prefers_two_families_and_has_one_keeps_to_it_when_the_cluster_gets_another() {
    let mut world = World::new(&[V4], &[]);
    let spec = |policy: &str| json!({ "ipFamilyPolicy": policy });
    world.step(&[service("a", &spec("PreferDualStack")), service("b", &spec("SingleStack"))]);
    world.config = config(&[V4, V6], &[]);
    world.step(&[service("a", &spec("PreferDualStack")), service("b", &spec("PreferDualStack"))]);
    assert_eq!((families(&world, "a"), families(&world, "b")), ("4".to_owned(), "46".to_owned()));
    world.step(&[service("a", &spec("RequireDualStack"))]);
    assert_eq!(families(&world, "a"), "46");
}

#[test]
fn what_somebody_else_gave_to_a_load_balancer_is_given_to_nobody() {
    let mut world = World::new(&[V4], &["203.0.113.0/31"]);
    let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }] });
    let status = json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.0" }] } });
    let object = json!({ "metadata": { "name": "z" }, "spec": spec, "status": status });
    let published = Arc::new(Service::try_from(&serde_json::from_value(object).unwrap()).unwrap());
    let said = world.step(&[service("a", &spec), service("b", &spec), published]);
    assert_eq!(said, ["b: no public IPv4 address is left for it; give another --lb-pool"]);
    assert_eq!(world.balancer("a"), ["203.0.113.1"]);
    assert_eq!(world.balancer("z"), ["203.0.113.0"]);
}

#[test]
fn one_port_of_two_protocols_has_one_node_port_and_names_keep_theirs() {
    let mut world = World::new(&[V4], &[]);
    let dns =
        |ports: serde_json::Value| service("dns", &json!({ "type": "NodePort", "ports": ports }));
    let port = |name: &str, protocol: &str, port: u16| json!({ "name": name, "protocol": protocol, "port": port });
    world.step(&[dns(json!([port("u", "UDP", 53), port("t", "TCP", 53), port("m", "TCP", 9153)]))]);
    let first = world.node_ports("dns");
    assert_eq!(first[0], first[1]);
    assert_ne!(first[0], first[2]);
    world.step(&[dns(json!([port("m", "TCP", 9999), port("u", "UDP", 53)]))]);
    assert_eq!(world.node_ports("dns"), [first[2], first[0]], "by name, not by place or number");
    world.step(&[dns(json!([
        { "name": "t", "port": 53 }, { "name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053 },
    ]))]);
    assert_eq!(world.node_ports("dns"), [30053, 30053]);
}

#[test]
fn a_load_balancer_keeps_node_ports_that_it_need_not_have() {
    let mut world = World::new(&[V4], &[]);
    let spec = |allocate: bool| json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": allocate });
    world.step(&[service("a", &spec(true)), service("b", &spec(false))]);
    let ports = world.node_ports("a");
    assert_ne!(ports, [0]);
    assert_eq!(world.node_ports("b"), [0]);
    world.step(&[service("a", &spec(false))]);
    assert_eq!(world.node_ports("a"), ports);
    world.step(&[service("a", &json!({}))]);
    world.step(&[service("a", &spec(false))]);
    assert_eq!(world.node_ports("a"), [0], "those of another type are given up");
}

#[test]
fn what_moves_from_one_to_another_in_one_step_is_free_for_it() {
    let mut world = World::new(&[V4], &[]);
    let on = |name: &str, port: u16| {
        service(name, &json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] }))
    };
    world.step(&[on("a", 30001), on("b", 30002)]);
    assert_eq!(world.step(&[on("a", 30002), on("b", 30003)]), [""; 0]);
    assert_eq!((world.node_ports("a"), world.node_ports("b")), (vec![30002], vec![30003]));
    // Who is refused keeps what the other counted on.
    let refused = world.step(&[on("a", 30003), on("b", 40000)]);
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!((world.node_ports("a"), world.node_ports("b")), (vec![30002], vec![30003]));
}

#[test]
fn who_is_gone_gives_all_back_and_who_may_be_there_does_not() {
    let mut world = World::new(&["10.96.0.0/30"], &[]);
    let all = ["a", "b"].map(|name| service(name, &json!({})));
    assert_eq!(world.step(&all), [""; 0]);
    let full = "c: spec.clusterIP: Internal error: failed to allocate a serviceIP: range is full; make \
                --service-cidr larger";
    let c = service("c", &json!({}));
    assert_eq!(world.step(&[all[0].clone(), all[1].clone(), c.clone()]), [full]);
    let absent = BTreeSet::from([all[1].name.clone()]);
    assert_eq!(world.step_with(&[all[0].clone(), c.clone()], &absent), [full]);
    assert_eq!(world.step(&[all[0].clone(), c]), [""; 0]);
    assert_eq!(world.ledger.len(), 2);
}

#[test]
fn a_ledger_that_was_broken_is_mended() {
    let mut world = World::new(&[V4], &[]);
    let all = ["a", "b", "c"].map(|name| service(name, &json!({ "type": "NodePort" })));
    world.step(&all);
    let (record, kept) = (world.ledger[&all[0].name].clone(), world.ips("a"));
    world.ledger.insert(all[1].name.clone(), record);
    let strange = world.ledger.get_mut(&all[2].name).unwrap();
    strange.cluster_ips = vec!["192.0.2.1".parse().unwrap()];
    assert_eq!(world.step(&all), [""; 0]);
    assert_eq!(world.ips("a"), kept);
    let names = ["a", "b", "c"];
    assert_eq!(BTreeSet::from(names.map(|name| world.ips(name))).len(), 3);
    assert_eq!(BTreeSet::from(names.map(|name| world.node_ports(name))).len(), 3);
    assert!(world.ips("c")[0].starts_with("10.96.0."), "what is out of the range is chosen anew");
}

#[test]
fn load_balancers_have_addresses_of_the_pool_for_their_class_and_kind() {
    let pools =
        ["203.0.113.0/31", "internal=10.20.0.0/24", "fd20::/64", "example.com/a=198.51.100.0/30"];
    let mut world = World::new(&[V4, V6], &pools);
    let spec = |more: serde_json::Value| {
        let mut spec = json!({ "type": "LoadBalancer" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let internal = json!({ "annotations": { "networking.gke.io/load-balancer-type": "Internal" } });
    let services = [
        service("class", &spec(json!({ "loadBalancerClass": "example.com/a" }))),
        service("dual", &spec(json!({ "ipFamilyPolicy": "PreferDualStack" }))),
        service("internal", &spec(internal)),
        service("other", &spec(json!({ "loadBalancerClass": "example.com/other" }))),
        service("wanted", &spec(json!({ "loadBalancerIP": "203.0.113.1" }))),
        service("wrong", &spec(json!({ "loadBalancerIP": "10.20.0.7" }))),
        service("zlast", &spec(json!({}))),
    ];
    let said = world.step(&services);
    assert_eq!(
        said,
        [
            "wrong: spec.loadBalancerIP: 10.20.0.7 is in no pool for this Service; choose another one, or \
             give --lb-pool",
            "zlast: no public IPv4 address is left for it; give another --lb-pool",
        ]
    );
    assert_eq!(world.balancer("wanted"), ["203.0.113.1"]);
    assert_eq!(world.balancer("dual")[0], "203.0.113.0", "what is written goes first");
    assert!(world.balancer("dual")[1].starts_with("fd20::"));
    assert!(world.balancer("internal")[0].starts_with("10.20.0."));
    assert!(world.balancer("class")[0].starts_with("198.51.100."));
    assert_eq!(world.balancer("other"), [""; 0]);
    let before = world.balancer("dual");
    world.step(&services);
    assert_eq!(world.balancer("dual"), before);
    let changed = service("class", &spec(json!({})));
    assert_eq!(
        world.step(&[changed]),
        [
            "class: spec.loadBalancerClass: Invalid value: null: may not change once set; to change it, \
          remove the Service and make it anew"
        ]
    );
}
