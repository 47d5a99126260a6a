//! Where Services are reached beside cluster IPs and nodes, whose addresses are, and who gives way.

use super::*;

const NODE: &str = "192.0.2.1";

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn named(name: &str, cluster_ip: &str, traffic: Traffic) -> Service {
    Service {
        name: ServiceName::new("default", name),
        cluster_ips: ips(&[cluster_ip]),
        traffic,
        ..service()
    }
}

/// All these together on a node with one address.
fn together(services: Vec<Service>) -> Desired {
    let (model, conflicts) = Model::assemble(services.into_iter().map(Arc::new), []);
    assert_eq!(conflicts, []);
    compile(
        &model,
        &NodeFacts { node_addresses: ips(&[NODE]).into_iter().collect(), ..NodeFacts::default() },
    )
}

fn problems(desired: &Desired) -> Vec<String> {
    let line = |one: &crate::model::Conflict| format!("{}: {}", one.object, one.invalid);
    desired.conflicts.iter().map(line).collect()
}

fn owned(desired: &Desired) -> Vec<String> {
    desired.addresses.iter().map(|(address, owner)| format!("{address} {owner:?}")).collect()
}

#[test]
fn external_and_load_balancer_addresses_of_the_services_families_lead_to_its_port() {
    let traffic = Traffic {
        external_ips: ips(&["203.0.113.7", "2001:db8::7"]),
        load_balancer_ips: ips(&["203.0.113.1"]),
        ..Traffic::default()
    };
    let desired = together(vec![named("web", "10.96.0.10", traffic)]);
    assert_eq!(
        shown(&desired),
        "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  at 203.0.113.1:80/TCP of a load balancer
  at 203.0.113.7:80/TCP external
"
    );
    let addresses =
        ["10.96.0.10 Service", "192.0.2.1 Other", "203.0.113.1 Service", "203.0.113.7 Service"];
    assert_eq!(owned(&desired), addresses);
}

#[test]
fn source_ranges_guard_the_load_balancers_address_of_their_family_and_no_other() {
    let traffic = Traffic {
        external_ips: ips(&["203.0.113.7"]),
        load_balancer_ips: ips(&["203.0.113.1", "2001:db8::1"]),
        source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
        ..Traffic::default()
    };
    let mut service = named("web", "10.96.0.10", traffic);
    service.cluster_ips = ips(&["10.96.0.10", "fd00:96::10"]);
    let desired = together(vec![service]);
    assert_eq!(
        shown(&desired),
        "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  at 203.0.113.1:80/TCP of a load balancer, guarded
  at 203.0.113.7:80/TCP external
default/web:http/TCP IPv6
  at [2001:db8::1]:80/TCP of a load balancer
  at [fd00:96::10]:80/TCP
"
    );
    let ranges: Vec<usize> = desired.services.values().map(|one| one.source_ranges.len()).collect();
    assert_eq!(ranges, [1, 0], "each family has its own");
}

#[test]
fn an_address_that_is_the_load_balancers_and_external_stays_guarded() {
    let traffic = Traffic {
        external_ips: ips(&["203.0.113.1"]),
        load_balancer_ips: ips(&["203.0.113.1"]),
        source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
        ..Traffic::default()
    };
    let desired = together(vec![named("web", "10.96.0.10", traffic)]);
    assert!(shown(&desired).contains("at 203.0.113.1:80/TCP of a load balancer, guarded"));
    assert_eq!(problems(&desired), [""; 0]);
}

#[test]
fn of_two_services_with_one_external_address_the_first_has_it_and_the_other_its_own_addresses() {
    let traffic = Traffic { external_ips: ips(&["203.0.113.7"]), ..Traffic::default() };
    let desired = together(vec![
        named("b", "10.96.0.11", traffic.clone()),
        named("a", "10.96.0.10", traffic),
    ]);
    assert_eq!(
        shown(&desired),
        "\
default/a:http/TCP IPv4
  at 10.96.0.10:80/TCP
  at 203.0.113.7:80/TCP external
default/b:http/TCP IPv4
  at 10.96.0.11:80/TCP
"
    );
    assert_eq!(
        problems(&desired),
        [
            "Service default/b: spec.externalIPs[0]: Invalid value: \"203.0.113.7\": Service default/a \
          is reached at 203.0.113.7:80/TCP already; that one stays, and this one is not served \
          there. Choose another address or port"
        ]
    );
}

#[test]
fn an_external_address_takes_no_port_of_a_cluster_ip_and_no_node_port() {
    let traffic = Traffic { external_ips: ips(&["10.96.0.11", NODE]), ..Traffic::default() };
    let mut thief = named("a", "10.96.0.10", traffic);
    thief
        .ports
        .push(ServicePort { port: number(30080), ..service_port(Some("n"), Protocol::Tcp, None) });
    let mut victim = named("b", "10.96.0.11", Traffic::default());
    victim.ports = vec![service_port(Some("http"), Protocol::Tcp, Some(30080))];
    let desired = together(vec![thief, victim]);
    assert_eq!(
        shown(&desired),
        "\
default/a:http/TCP IPv4
  at 10.96.0.10:80/TCP
  at 192.0.2.1:80/TCP external
default/a:n/TCP IPv4
  at 10.96.0.10:30080/TCP
  at 10.96.0.11:30080/TCP external
default/b:http/TCP IPv4
  at 0.0.0.0:30080/TCP
  at 10.96.0.11:80/TCP
  at 192.0.2.1:30080/TCP
"
    );
    assert_eq!(problems(&desired).len(), 2);
    assert_eq!(desired.addresses[&ips(&[NODE])[0]], AddressOwner::Other, "the node's own");
}

#[test]
fn addresses_that_another_proxy_serves_are_left_to_it() {
    let traffic = Traffic { external_ips: ips(&["203.0.113.7"]), ..Traffic::default() };
    let other = Service { proxying: Proxying::LeftAlone, ..named("web", "10.96.0.10", traffic) };
    let desired = together(vec![other]);
    assert_eq!(owned(&desired), ["10.96.0.10 Other", "192.0.2.1 Other"]);
}

#[test]
fn a_cluster_ip_outside_the_range_of_its_family_is_refused_in_the_api_servers_words() {
    let mut stranger = named("a", "10.97.0.1", Traffic::default());
    stranger.cluster_ips = ips(&["10.97.0.1", "fd00:96::1"]);
    let native = named("b", "10.96.0.10", Traffic::default());
    let (model, _) = Model::assemble([stranger, native].into_iter().map(Arc::new), []);
    let with = |ranges: &[&str]| {
        let service_ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
        compile(&model, &NodeFacts { service_ranges, ..NodeFacts::default() })
    };
    let refused = with(&["10.96.0.0/16"]);
    assert_eq!(
        problems(&refused),
        [
            "Service default/a: spec.clusterIPs[0]: Invalid value: \"10.97.0.1\": failed to allocate \
          IP 10.97.0.1: the provided IP (10.97.0.1) is not in the valid range. The range of valid \
          IPs is 10.96.0.0/16; write one of these, or give another --service-cidr"
        ]
    );
    assert_eq!(shown(&refused), "default/b:http/TCP IPv4\n  at 10.96.0.10:80/TCP\n");
    assert_eq!(owned(&refused), ["10.96.0.10 Service"]);
    for ranges in [&[][..], &["10.96.0.0/12"], &["fd00:96::/112"]] {
        assert_eq!(with(ranges).services.len(), 3, "{ranges:?}");
        assert_eq!(problems(&with(ranges)), [""; 0]);
    }
}

#[test]
fn node_ports_are_served_on_the_addresses_that_the_operator_wants() {
    let mut service = service();
    service.ports = vec![service_port(Some("http"), Protocol::Tcp, Some(30080))];
    service.cluster_ips.push("fd00::a".parse().unwrap());
    let (mut model, _) = Model::assemble([Arc::new(service)], []);
    let served = |model: &Model, wanted: Option<&str>| {
        let addresses = ["192.0.2.1", "192.0.3.1", "2001:db8::1", "2001:db8::2"];
        let facts = NodeFacts {
            node_addresses: ips(&addresses).into_iter().collect(),
            node_ports_on: wanted.map_or(NodePortAddresses::All, |text| text.parse().unwrap()),
            primary: ips(&["192.0.2.1", "2001:db8::1"]).into_iter().collect(),
            name: "node1".to_owned(),
            ..NodeFacts::default()
        };
        let desired = compile(model, &facts);
        let owned = addresses.iter().all(|ip| desired.addresses.contains_key(&ip.parse().unwrap()));
        assert!(owned, "they are the node's own all the same");
        let frontends = desired.services.values().flat_map(|one| one.frontends.keys());
        let ports = frontends.filter(|one| one.port == 30080 && !one.address.is_unspecified());
        ports.map(|one| one.address.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(served(&model, None), "192.0.2.1 192.0.3.1 2001:db8::1 2001:db8::2");
    assert_eq!(served(&model, Some("192.0.3.0/24")), "192.0.3.1 2001:db8::1 2001:db8::2");
    assert_eq!(served(&model, Some("192.0.3.0/24,fd00::/8")), "192.0.3.1");
    assert_eq!(served(&model, Some("primary")), "192.0.2.1 2001:db8::1");
    let primary = ips(&["2001:db8::2"]);
    let node = crate::model::Node { name: "node1".to_owned(), zone: None, leaving: false, primary };
    model.nodes.insert(node.name.clone(), Arc::new(node));
    assert_eq!(served(&model, Some("primary")), "2001:db8::2", "as the Node says");
}
