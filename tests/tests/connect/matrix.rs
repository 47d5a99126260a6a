//! Clients on the node and in pods, in every form and way, at every kind of frontend: endpoints here and elsewhere.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::Result;
use lb_tests::{
    echo::{self, NODE_PORT, cluster_ip, name, node_port},
    lab::{Namespace, cast},
    manifests::Service,
};

use crate::{
    Seen,
    client::{Clients as _, Form, Way},
    common::BACKENDS,
};

/// So many requests find each of three endpoints but once in a million times.
const REQUESTS: usize = 36;

/// All endpoints answer, the Service is what the client sees, and no packet is translated. `client`: the
/// address that endpoints see, if it is the same for all.
fn check(
    seen: &Seen,
    namespace: &Namespace,
    client: Option<cast::Host>,
    target: impl Fn(Form) -> SocketAddr,
) -> Result<()> {
    for form in Form::ALL {
        for way in Way::ALL {
            let target = target(form);
            let mut names = BTreeSet::new();
            for _ in 0..REQUESTS {
                let learnt = seen.ask(namespace, form, way, target)?;
                for peer in learnt.peers {
                    assert_eq!(peer, form.of(target), "{form:?} {way:?}");
                }
                if let Some(client) = client {
                    assert_eq!(learnt.client, client.ip(form.family()), "{form:?} {way:?}");
                }
                names.insert(learnt.name);
            }
            assert_eq!(names, BACKENDS.map(name).into(), "{form:?} {way:?} to {target}");
        }
    }
    assert_eq!(seen.translated_packets()?, 0);
    Ok(())
}

#[test]
fn a_process_of_the_node_reaches_all_endpoints_of_a_cluster_ip() -> Result<()> {
    let seen = Seen::standard()?;
    check(&seen, seen.bed.cluster.node(1), None, |form| cluster_ip(form.family()))?;
    let requests = REQUESTS * Form::ALL.len() * Way::ALL.len();
    assert_eq!(seen.counter("socket_translated")?, requests as u64);
    Ok(())
}

#[test]
fn a_process_of_the_node_reaches_all_endpoints_of_a_node_port() -> Result<()> {
    let seen = Seen::standard()?;
    check(&seen, seen.bed.cluster.node(1), None, |form| node_port(form.family()))
}

#[test]
fn a_process_of_the_node_reaches_all_endpoints_of_a_node_port_by_loopback() -> Result<()> {
    let seen = Seen::standard()?;
    check(&seen, seen.bed.cluster.node(1), None, |form| (form.loopback(), NODE_PORT).into())
}

#[test]
fn a_pod_reaches_all_endpoints_of_a_cluster_ip() -> Result<()> {
    let seen = Seen::standard()?;
    let pod = cast::pod(1, 3);
    check(&seen, seen.bed.cluster.pod(1, 3), Some(pod), |form| cluster_ip(form.family()))
}

#[test]
fn a_pod_reaches_all_endpoints_of_a_node_port() -> Result<()> {
    let seen = Seen::standard()?;
    let pod = cast::pod(1, 3);
    check(&seen, seen.bed.cluster.pod(1, 3), Some(pod), |form| node_port(form.family()))
}

#[test]
fn loopback_addresses_of_a_pod_are_its_own() -> Result<()> {
    let seen = Seen::standard()?;
    for form in Form::ALL {
        let target = (form.loopback(), NODE_PORT).into();
        let error = seen.connected(seen.bed.cluster.pod(1, 3), form, Way::Tcp, target).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{form:?}");
    }
    assert_eq!(seen.counter("socket_translated")?, 0);
    assert_eq!(seen.counter("drop_no_backend")?, 0);
    Ok(())
}

#[test]
fn what_is_no_service_is_left_alone() -> Result<()> {
    let seen = Seen::standard()?;
    for form in Form::ALL {
        for way in Way::ALL {
            let target = cast::pod(1, 1).socket(form.family(), echo::BACKEND_PORT);
            let learnt = seen.ask(seen.bed.cluster.pod(1, 3), form, way, target)?;
            assert_eq!(learnt.name, name((1, 1)));
            for peer in learnt.peers {
                assert_eq!(peer, form.of(target), "{form:?} {way:?}");
            }
        }
    }
    assert_eq!(seen.counter("socket_translated")?, 0);
    Ok(())
}

#[test]
fn for_the_host_only_pods_are_left_to_packets() -> Result<()> {
    let seen = Seen::start(&BACKENDS, &["--socket-lb", "host"])?;
    let target = cluster_ip(cast::Family::V4);
    seen.ask(seen.bed.cluster.pod(1, 3), Form::V4, Way::Tcp, target)?;
    assert_eq!(seen.counter("socket_translated")?, 0);
    assert!(seen.translated_packets()? > 0);
    seen.ask(seen.bed.cluster.node(1), Form::V4, Way::Tcp, target)?;
    assert_eq!(seen.counter("socket_translated")?, 1);
    Ok(())
}

#[test]
fn a_service_may_want_packets_only() -> Result<()> {
    let seen = Seen::standard()?;
    let service: &Service = &seen.bed.service;
    let mark = "metadata:\n";
    let annotated = service.to_yaml().replacen(
        mark,
        &format!("{mark}  annotations: {{ lb.dev/socket-lb: \"false\" }}\n"),
        1,
    );
    let (pod, target) = (seen.bed.cluster.pod(1, 3), cluster_ip(cast::Family::V4));
    seen.ask(pod, Form::V4, Way::Tcp, target)?;
    assert_eq!(seen.counter("socket_translated")?, 1);
    seen.bed.manifests.write(&format!("{}.yaml", service.name), &annotated)?;
    seen.bed.lb.wait_for("packets only", |status| {
        let services = status["services"].as_array();
        services.is_some_and(|services| services.iter().all(|one| one["packetsOnly"] == true))
    })?;
    seen.ask(pod, Form::V4, Way::Tcp, target)?;
    assert_eq!(seen.counter("socket_translated")?, 1);
    assert!(seen.translated_packets()? > 0);
    Ok(())
}
