//! What holds whatever is done.

use proptest::{collection::vec, prelude::*};

use super::*;

/// What somebody does to one of a few Services.
#[derive(Clone, Debug)]
enum Step {
    Remove(u8),
    Put(u8, serde_json::Value),
}

fn any_step() -> impl Strategy<Value = Step> {
    let port = || proptest::option::of(0_u16..6);
    let spec = (0_u8..4, proptest::option::of(0_u8..16), port(), port()).prop_map(
        |(kind, address, port, check)| {
            let local = kind == 3;
            let kind = kind.min(2);
            let kind = ["ClusterIP", "NodePort", "LoadBalancer"][usize::from(kind)];
            let mut spec = json!({ "type": kind, "ports": [{ "port": 80 }] });
            if let Some(address) = address {
                spec["clusterIP"] = json!(format!("10.96.0.{address}"));
            }
            if let (Some(port), true) = (port, kind != "ClusterIP") {
                spec["ports"][0]["nodePort"] = json!(30000 + port);
            }
            if local {
                spec["externalTrafficPolicy"] = json!("Local");
                spec["healthCheckNodePort"] = json!(check.map(|port| 30000 + port));
            }
            spec
        },
    );
    prop_oneof![
        1 => (0_u8..12).prop_map(Step::Remove),
        4 => (0_u8..12, spec).prop_map(|(name, spec)| Step::Put(name, spec)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is done, in whatever portions: nothing has two owners, nobody who is there and was not refused
    /// is without what it needs, and nobody loses a cluster IP while it is there.
    #[test]
    fn nothing_is_given_twice_and_nothing_is_taken_away(steps in vec(vec(any_step(), 1..4), 1..12)) {
        let mut world = World::new(&["10.96.0.0/28"], &["203.0.113.0/30"]);
        world.config.node_ports = crate::model::NodePortRange { first: 30000, last: 30005 };
        let mut there: BTreeMap<u8, Arc<Service>> = BTreeMap::new();
        for portion in steps {
            let before = world.services.clone();
            for step in portion {
                match step {
                    Step::Remove(name) => drop(there.remove(&name)),
                    Step::Put(name, spec) => drop(there.insert(name, service(&format!("s{name}"), &spec))),
                }
            }
            let now: Vec<_> = there.values().cloned().collect();
            let said = world.step(&now);
            let mut owned = BTreeSet::new();
            for one in world.services.values() {
                for address in one.cluster_ips.iter().chain(&one.traffic.load_balancer_ips) {
                    prop_assert!(owned.insert(address.to_string()), "{address} twice: {:?}", world.services);
                }
                let ports = one.ports.iter().filter_map(|port| port.node_port);
                for port in ports.chain(one.traffic.health_check_port) {
                    prop_assert!(owned.insert(port.to_string()), "{port} twice: {:?}", world.services);
                }
                prop_assert_eq!(one.cluster_ips.len(), 1);
                prop_assert_eq!(one.ports[0].node_port.is_some(), one.wishes.node_ports);
                prop_assert_eq!(one.traffic.health_check_port.is_some(), one.needs_health_check());
                if let Some(earlier) = before.get(&one.name) {
                    prop_assert_eq!(&earlier.cluster_ips, &one.cluster_ips);
                }
            }
            for one in &now {
                let refused = said.iter().any(|line| line.starts_with(&format!("{}:", one.name.name)));
                prop_assert!(refused || world.services.contains_key(&one.name));
            }
            prop_assert!(world.ledger.keys().all(|name| now.iter().any(|one| one.name == *name)));
        }
    }
}
