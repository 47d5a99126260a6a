//! Text through the whole of user space that knows no kernel: objects, the model, tables.

use std::{collections::BTreeSet, net::IpAddr};

use lb_tests::lab::cast::{Family, NODE1};
use lb_userspace::{
    compile::{NodeFacts, compile},
    source::manifests,
};

/// Reads `bytes` as a manifest and compiles what it puts in force. Everything that is wrong with an object
/// names its field and says something, and the same bytes say the same again.
pub fn check(bytes: &[u8]) {
    let snapshot = manifests::read(bytes);
    for problem in &snapshot.problems {
        let text = problem.to_string();
        assert!(!problem.message.is_empty(), "{text}");
        let named = problem.field.as_ref().is_some_and(|field| !field.is_empty());
        let twice = problem.message.starts_with("stands ");
        assert!(problem.object.is_none() || named || twice, "no field is named: {text}");
    }
    assert_eq!(snapshot, manifests::read(bytes));

    let addresses: BTreeSet<IpAddr> = Family::BOTH.map(|family| NODE1.ip(family)).into();
    let node = NodeFacts {
        node_addresses: addresses,
        name: "node1".to_owned(),
        service_ranges: Vec::new(),
        ..NodeFacts::default()
    };
    let desired = compile(&snapshot.model, &node);
    for (key, service) in &desired.services {
        for slot in &service.all.slots {
            assert!(
                service.backends.contains_key(slot),
                "{key:?} leads to {slot:?}, which is nobody"
            );
        }
    }
}
