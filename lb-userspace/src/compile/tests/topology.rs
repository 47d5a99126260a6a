//! Which endpoints hints leave for this node, which is node1 in zone a.

use super::*;

/// An endpoint: address, condition, hinted nodes, hinted zones.
type Row = (&'static str, (bool, bool, bool), &'static [&'static str], &'static [&'static str]);

/// This node's zone, the endpoints, and what is chosen from.
struct Hinted {
    zone: Option<&'static str>,
    endpoints: &'static [Row],
    slots: &'static [&'static str],
}

#[track_caller]
fn check(case: &Hinted) {
    let mut slice = slice("s1", &[]);
    for (address, condition, nodes, zones) in case.endpoints {
        let mut one = super::slice("s", &[(address, *condition)]).endpoints.remove(0);
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        one.hints = Hints { nodes: owned(nodes), zones: owned(zones) };
        slice.endpoints.push(one);
    }
    let (mut model, _) = Model::assemble([Arc::new(service())], [Arc::new(slice)]);
    let node = |zone: &str| {
        let (name, zone) = ("node1".to_owned(), Some(zone.to_owned()));
        (name.clone(), Arc::new(crate::model::Node { name, zone, leaving: false, primary: vec![] }))
    };
    model.nodes.extend(case.zone.map(node));
    let facts = NodeFacts { name: "node1".to_owned(), ..NodeFacts::default() };
    let desired = compile(&model, &facts);
    let found = desired.services.values().next().unwrap();
    let slots: Vec<_> = found.all.slots.iter().map(|slot| slot.address.to_string()).collect();
    assert_eq!(slots, case.slots);
    assert_eq!(found.internal, found.all);
}

#[test]
fn endpoints_for_this_zone_are_taken_if_all_ready_ones_have_hints_and_one_is_for_it() {
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[("10.1.0.1", READY, &[], &["a"]), ("10.1.0.2", READY, &[], &["b"])],
        slots: &["10.1.0.1"],
    });
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[("10.1.0.1", READY, &[], &["a"]), ("10.1.0.2", READY, &[], &[])],
        slots: &["10.1.0.1", "10.1.0.2"],
    });
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[
            ("10.1.0.1", READY, &[], &["a", "b"]),
            ("10.1.0.2", READY, &[], &["b"]),
            ("10.1.0.3", UNREADY, &[], &[]),
            ("10.1.0.4", SERVING_TERMINATING, &[], &[]),
        ],
        slots: &["10.1.0.1"],
    });
    let elsewhere = Hinted {
        zone: Some("c"),
        endpoints: &[("10.1.0.1", READY, &[], &["a"]), ("10.1.0.2", READY, &[], &["b"])],
        slots: &["10.1.0.1", "10.1.0.2"],
    };
    check(&elsewhere);
    check(&Hinted { zone: None, ..elsewhere });
}

#[test]
fn endpoints_for_this_node_come_before_those_for_its_zone() {
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[
            ("10.1.0.1", READY, &["node1"], &["a"]),
            ("10.1.0.2", READY, &["node2"], &["a"]),
            ("10.1.0.3", READY, &["node3"], &["b"]),
        ],
        slots: &["10.1.0.1"],
    });
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[
            ("10.1.0.2", READY, &["node2"], &["a"]),
            ("10.1.0.3", READY, &["node3"], &["b"]),
        ],
        slots: &["10.1.0.2"],
    });
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[("10.1.0.1", READY, &["node1"], &["b"]), ("10.1.0.2", READY, &[], &["a"])],
        slots: &["10.1.0.2"],
    });
}

#[test]
fn hints_do_not_apply_to_endpoints_that_are_going() {
    check(&Hinted {
        zone: Some("a"),
        endpoints: &[
            ("10.1.0.1", SERVING_TERMINATING, &[], &["a"]),
            ("10.1.0.2", SERVING_TERMINATING, &[], &["b"]),
            ("10.1.0.3", TERMINATING, &[], &["a"]),
        ],
        slots: &["10.1.0.1", "10.1.0.2"],
    });
}
