//! Which endpoints the traffic policies leave, and what becomes of clients when they leave none.

use super::*;
use crate::model::TrafficPolicy::{Cluster, Local};

/// Endpoints on nodes, and what the two policies leave of them on node 1.
struct Policies {
    internal: crate::model::TrafficPolicy,
    external: crate::model::TrafficPolicy,
    /// Address, node and conditions.
    endpoints: &'static [(&'static str, &'static str, (bool, bool, bool))],
    expected: [&'static str; 3],
}

const BOTH_LOCAL: Policies =
    Policies { internal: Local, external: Local, endpoints: &[], expected: [""; 3] };

#[track_caller]
fn check(case: &Policies) {
    let mut service = service();
    service.traffic.internal_policy = case.internal;
    service.traffic.external_policy = case.external;
    let mut slices = Vec::new();
    for (index, (address, node, conditions)) in case.endpoints.iter().enumerate() {
        let mut slice = slice(&format!("s{index}"), &[(address, *conditions)]);
        slice.endpoints[0].node = Some((*node).to_owned());
        slices.push(slice);
    }
    let desired = compiled(service, &slices, &[]);
    let service = desired.services.values().next().unwrap();
    let shown = [&service.all, &service.internal, &service.external].map(|table| {
        let slots: Vec<_> = table.slots.iter().map(|slot| slot.address.to_string()).collect();
        if slots.is_empty() { format!("{:?}", table.otherwise) } else { slots.join(" ") }
    });
    assert_eq!(shown, case.expected, "all, internal, external");
}

#[test]
fn each_policy_narrows_its_own_selection_to_this_node() {
    let endpoints =
        &[("10.1.0.1", "node1", READY), ("10.1.0.2", "node2", READY), ("10.1.0.3", "node1", READY)];
    let (all, local) = ("10.1.0.1 10.1.0.2 10.1.0.3", "10.1.0.1 10.1.0.3");
    for (internal, external, expected) in [
        (Cluster, Cluster, [all, all, all]),
        (Local, Cluster, [all, local, all]),
        (Cluster, Local, [all, all, local]),
        (Local, Local, [all, local, local]),
    ] {
        check(&Policies { internal, external, endpoints, expected });
    }
}

#[test]
fn without_any_endpoint_clients_are_refused_whatever_the_policy() {
    check(&Policies { expected: ["Refuse"; 3], ..BOTH_LOCAL });
    check(&Policies {
        endpoints: &[("10.1.0.1", "node1", UNREADY), ("10.1.0.2", "node2", TERMINATING)],
        expected: ["Refuse"; 3],
        ..BOTH_LOCAL
    });
}

#[test]
fn with_endpoints_elsewhere_only_clients_are_dropped_one_that_is_going_included() {
    check(&Policies {
        endpoints: &[("10.1.0.2", "node2", READY), ("10.1.0.1", "node1", UNREADY)],
        expected: ["10.1.0.2", "Drop", "Drop"],
        ..BOTH_LOCAL
    });
    check(&Policies {
        endpoints: &[("10.1.0.2", "node2", SERVING_TERMINATING)],
        expected: ["10.1.0.2", "Drop", "Drop"],
        ..BOTH_LOCAL
    });
}

#[test]
fn terminating_endpoints_stand_in_for_all_and_for_those_of_this_node_separately() {
    check(&Policies {
        endpoints: &[("10.1.0.1", "node1", SERVING_TERMINATING), ("10.1.0.2", "node2", READY)],
        expected: ["10.1.0.2", "10.1.0.1", "10.1.0.1"],
        ..BOTH_LOCAL
    });
    check(&Policies {
        endpoints: &[
            ("10.1.0.1", "node1", SERVING_TERMINATING),
            ("10.1.0.2", "node1", READY),
            ("10.1.0.3", "node2", SERVING_TERMINATING),
        ],
        expected: ["10.1.0.2", "10.1.0.2", "10.1.0.2"],
        ..BOTH_LOCAL
    });
}

#[test]
fn an_endpoint_of_no_node_is_not_local() {
    let mut service = service();
    service.traffic.external_policy = Local;
    let desired = compiled(service, &[slice("s1", &[("10.1.0.1", READY)])], &[]);
    let table = &desired.services.values().next().unwrap().external;
    assert_eq!((table.slots.len(), table.otherwise), (0, Otherwise::Drop));
}
