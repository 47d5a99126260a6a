//! A compiler that follows changes, and one that sees only where they led.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::Node;

/// What may happen to objects.
#[derive(Clone, Debug)]
enum Step {
    Service(u8, Option<Service>),
    Slice(u8, Option<EndpointSlice>),
    NodeAddresses(BTreeSet<IpAddr>),
    Zone(bool),
}

/// Few addresses of a family, so that objects meet: cluster IPs, load balancers' and external ones, the node's.
fn any_address() -> impl Strategy<Value = IpAddr> {
    (any::<bool>(), 1..5_u8).prop_map(|(v6, host)| {
        let text = if v6 { format!("fd00::{host}") } else { format!("10.96.0.{host}") };
        text.parse().unwrap()
    })
}

fn any_addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    proptest::collection::vec(any_address(), 0..3)
}

fn any_service() -> impl Strategy<Value = Service> {
    let proxying = prop_oneof![8 => Just(Proxying::Here), 1 => Just(Proxying::LeftAlone)];
    let ports = prop_oneof![Just(vec![80]), Just(vec![80, 81]), Just(vec![81])];
    let node_port = proptest::option::of(30_000..30_003_u16);
    let rules = (any::<bool>(), any::<bool>(), any::<bool>());
    let addresses = (any_addresses(), any_addresses(), any_addresses());
    (0..4_u8, proxying, ports, node_port, addresses, rules).prop_map(
        |(name, proxying, ports, node_port, (mut cluster, balancer, external), rules)| {
            // One of each family at most, as the API has it.
            cluster.dedup_by_key(|address| Family::of(*address));
            cluster.truncate(2);
            let port = |number: u16| ServicePort {
                port: Port::new(number).unwrap(),
                ..service_port(
                    Some(if number == 80 { "http" } else { "other" }),
                    Protocol::Tcp,
                    node_port.map(|first| first + (number - 80) * 10),
                )
            };
            let (local, sticky, guarded) = rules;
            Service {
                name: ServiceName::new("default", format!("s{name}")),
                proxying,
                cluster_ips: cluster,
                ports: ports.into_iter().map(port).collect(),
                traffic: Traffic {
                    external_policy: if local {
                        TrafficPolicy::Local
                    } else {
                        TrafficPolicy::Cluster
                    },
                    affinity: sticky.then_some(60),
                    source_ranges: guarded
                        .then(|| "192.0.2.0/24".parse().unwrap())
                        .into_iter()
                        .collect(),
                    load_balancer_ips: balancer,
                    external_ips: external,
                    ..Traffic::default()
                },
                ..service()
            }
        },
    )
}

fn any_slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoints = proptest::collection::btree_map(1..6_u8, 0..4_u8, 0..4);
    (0..4_u8, any::<bool>(), endpoints).prop_map(|(service, v6, endpoints)| {
        let conditions = [READY, UNREADY, SERVING_TERMINATING, TERMINATING];
        let text = |host| if v6 { format!("fd00:1::{host}") } else { format!("10.1.0.{host}") };
        let texts: Vec<_> = endpoints
            .into_iter()
            .map(|(host, one)| (text(host), conditions[usize::from(one)]))
            .collect();
        let endpoints: Vec<_> = texts.iter().map(|(text, one)| (text.as_str(), *one)).collect();
        EndpointSlice {
            service: Some(ServiceName::new("default", format!("s{service}"))),
            family: if v6 { Family::V6 } else { Family::V4 },
            ..slice("to be named", &endpoints)
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, proptest::option::weighted(0.8, any_service())).prop_map(|(name, one)| Step::Service(name, one)),
        6 => (0..6_u8, proptest::option::weighted(0.8, any_slice())).prop_map(|(name, one)| Step::Slice(name, one)),
        1 => proptest::collection::btree_set(any_address(), 0..3).prop_map(Step::NodeAddresses),
        1 => any::<bool>().prop_map(Step::Zone),
    ]
}

/// Everything there is, and what changes do to it.
#[derive(Default)]
struct Objects {
    services: BTreeMap<u8, Arc<Service>>,
    slices: BTreeMap<u8, Arc<EndpointSlice>>,
    node: NodeFacts,
    has_zone: bool,
}

impl Objects {
    fn take(&mut self, step: Step) {
        match step {
            Step::Service(name, Some(one)) => {
                let name_of = ServiceName::new("default", format!("s{name}"));
                drop(self.services.insert(name, Arc::new(Service { name: name_of, ..one })));
            }
            Step::Service(name, None) => drop(self.services.remove(&name)),
            Step::Slice(name, Some(one)) => {
                let name_of = SliceName::new("default", format!("slice{name}"));
                drop(self.slices.insert(name, Arc::new(EndpointSlice { name: name_of, ..one })));
            }
            Step::Slice(name, None) => drop(self.slices.remove(&name)),
            Step::NodeAddresses(addresses) => self.node.node_addresses = addresses,
            Step::Zone(has) => self.has_zone = has,
        }
    }

    fn model(&self) -> Arc<Model> {
        let (services, slices) = (self.services.values().cloned(), self.slices.values().cloned());
        let (mut model, _) = Model::assemble(services, slices);
        if self.has_zone {
            let node = Node {
                name: self.node.name.clone(),
                zone: Some("here".to_owned()),
                leaving: false,
                primary: Vec::new(),
            };
            model.nodes.insert(node.name.clone(), Arc::new(node));
        }
        Arc::new(model)
    }
}

proptest! {
    #[test]
    fn where_changes_lead_does_not_depend_on_the_way_and_nothing_untouched_differs(
        strange in any::<bool>(),
        steps in proptest::collection::vec(any_step(), 1..24),
    ) {
        let mut objects = Objects::default();
        if strange {
            // Some cluster IPs are out of it.
            objects.node.service_ranges = vec!["10.96.0.0/30".parse().unwrap()];
        }
        let mut compiler = Compiler::default();
        for step in steps {
            objects.take(step);
            let before = compiler.desired().clone();
            let model = objects.model();
            let touched = compiler.follow(&model, &objects.node);
            let now = compiler.desired();
            prop_assert_eq!(now, &compile(&model, &objects.node));

            let Touched::These(touched) = touched else { continue };
            let services = before.services.keys().chain(now.services.keys());
            for key in services.filter(|key| !touched.services.contains(*key)) {
                prop_assert_eq!(before.services.get(key), now.services.get(key), "{}", key);
            }
            let addresses = before.addresses.keys().chain(now.addresses.keys());
            for address in addresses.filter(|address| !touched.addresses.contains(*address)) {
                prop_assert_eq!(before.addresses.get(address), now.addresses.get(address), "{}", address);
            }
        }
    }
}

#[test]
fn a_change_of_endpoints_touches_their_service_and_no_other() {
    let names = ["a", "b", "c"];
    let service_of = |name: &str, host| Service {
        name: ServiceName::new("default", name),
        cluster_ips: vec![format!("10.96.0.{host}").parse().unwrap()],
        ..service()
    };
    let slice_of = |name: &str, address: &str| EndpointSlice {
        service: Some(ServiceName::new("default", name)),
        ..slice(name, &[(address, READY)])
    };
    let services: Vec<_> =
        (1..).zip(names).map(|(host, name)| Arc::new(service_of(name, host))).collect();
    let model = |address: &str| {
        let slices = names
            .map(|name| Arc::new(slice_of(name, if name == "b" { address } else { "10.1.0.1" })));
        Arc::new(Model::assemble(services.iter().cloned(), slices).0)
    };
    let mut compiler = Compiler::default();
    let node = NodeFacts::default();
    compiler.follow(&model("10.1.0.1"), &node);
    let Touched::These(elements) = compiler.follow(&model("10.1.0.2"), &node) else {
        panic!("not everything")
    };
    let touched: Vec<_> = elements.services.iter().map(|key| key.service.name.as_str()).collect();
    assert_eq!(touched, ["b"]);
    assert!(elements.addresses.is_empty());
    assert_eq!(compiler.follow(&model("10.1.0.2"), &node), Touched::These(Elements::default()));
}
