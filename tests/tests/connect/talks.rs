//! UDP sockets that aren't connected, and session affinity: who keeps which endpoint.

use std::{collections::BTreeSet, net::UdpSocket};

use anyhow::Result;
use lb_tests::{
    echo::{cluster_ip, name, node_port},
    manifests::Service,
};

use crate::{
    Seen,
    client::{Clients as _, Form, Way, ask_from},
    common::BACKENDS,
};

#[test]
fn a_socket_keeps_its_endpoint_of_each_service_address_while_it_talks() -> Result<()> {
    let seen = Seen::standard()?;
    let node = seen.bed.cluster.node(1);
    for form in Form::ALL {
        let mut names = BTreeSet::new();
        for _ in 0..12 {
            let socket = UdpSocket::from(seen.socket(node, form, Way::Udp)?);
            let targets = [cluster_ip(form.family()), node_port(form.family())];
            let first = targets.map(|target| ask_from(&socket, form, target).unwrap().name);
            for _ in 0..10 {
                for (target, first) in targets.iter().zip(&first) {
                    let learnt = ask_from(&socket, form, *target)?;
                    assert_eq!(learnt.name, *first, "{form:?}");
                    assert_eq!(learnt.peers, [form.of(*target)], "{form:?}");
                }
            }
            names.extend(first);
        }
        assert!(names.len() > 1, "{form:?}: sockets are spread: {names:?}");
    }
    Ok(())
}

#[test]
fn a_socket_moves_when_its_endpoint_is_removed() -> Result<()> {
    let seen = Seen::start(&BACKENDS, &[])?;
    let pod = seen.bed.cluster.pod(1, 3);
    let sockets: Vec<(Form, UdpSocket)> = Form::ALL
        .into_iter()
        .flat_map(|form| (0..6).map(move |_| form))
        .map(|form| (form, UdpSocket::from(seen.socket(pod, form, Way::Udp).unwrap())))
        .collect();
    for (form, socket) in &sockets {
        ask_from(socket, *form, cluster_ip(form.family()))?;
    }
    seen.bed.set_backends(&BACKENDS[..1])?;
    for (form, socket) in &sockets {
        let learnt = ask_from(socket, *form, cluster_ip(form.family()))?;
        assert_eq!(learnt.name, name(BACKENDS[0]), "{form:?}");
        assert_eq!(learnt.peers, [form.of(cluster_ip(form.family()))], "{form:?}");
    }
    Ok(())
}

#[test]
fn with_affinity_each_network_namespace_is_a_client() -> Result<()> {
    let seen = Seen::standard()?;
    let service: &Service = &seen.bed.service;
    let yaml = service.to_yaml().replacen("spec:\n", "spec:\n  sessionAffinity: ClientIP\n", 1);
    seen.bed.manifests.write(&format!("{}.yaml", service.name), &yaml)?;
    seen.bed.lb.wait_for("affinity", |status| {
        let services = status["services"].as_array();
        services.is_some_and(|all| all.iter().all(|one| one["affinitySeconds"] == 10_800))
    })?;
    let cluster = &seen.bed.cluster;
    for namespace in [cluster.node(1), cluster.pod(1, 3), cluster.pod(1, 1)] {
        for form in [Form::V4, Form::V6] {
            let target = cluster_ip(form.family());
            let mut names = BTreeSet::new();
            for _ in 0..10 {
                for way in Way::ALL {
                    names.insert(seen.ask(namespace, form, way, target)?.name);
                }
            }
            assert_eq!(names.len(), 1, "{} {form:?}: {names:?}", namespace.name());
        }
    }
    Ok(())
}
