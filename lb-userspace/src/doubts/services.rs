//! Doubts about Services: nobody answers, somebody else has the port, a rule that guards less than it seems to.

use std::collections::BTreeSet;

use super::{Facts, doubt};
use crate::{
    compile::{DesiredService, ServiceKey},
    model::{Family, ObjectRef, Problem, Proxying, Service, ServicePort},
};

pub(super) fn doubts(facts: &Facts<'_>) -> Vec<Problem> {
    let mut all = Vec::new();
    for service in facts.snapshot.model.services.values() {
        let found = [
            selector(facts, service),
            node_ports(facts, service),
            source_ranges(service),
            external_ips(service),
            pending(facts, service),
        ];
        let nobody_selected = found[0].is_some();
        all.extend(found.into_iter().flatten());
        if service.proxying == Proxying::Here && !nobody_selected {
            all.extend(without_endpoints(facts, service));
            all.extend(not_local(facts, service));
        }
    }
    all
}

fn selector(facts: &Facts<'_>, service: &Service) -> Option<Problem> {
    let namespace = &service.name.namespace;
    let mut pods = facts.objects.pods.values().filter(|pod| pod.name.namespace == *namespace);
    // Slices that somebody wrote count beside the selector.
    let written =
        facts.objects.slices.iter().any(|one| one.service.as_ref() == Some(&service.name));
    if service.pods.selector.is_empty() || written || pods.any(|pod| service.pods.pick(pod)) {
        return None;
    }
    let pairs: Vec<_> =
        service.pods.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let message =
        format!("no pod in namespace {namespace} has {}: clients are refused", pairs.join(", "));
    Some(doubt(ObjectRef::from(&service.name), "spec.selector", message))
}

/// The ports of a Service with what the tables would say of them, once for each family.
fn tables<'a>(
    facts: &'a Facts<'_>,
    service: &'a Service,
) -> impl Iterator<Item = (usize, &'a ServicePort, Family, &'a DesiredService)> {
    let ports = service.ports.iter().enumerate();
    let each = ports.flat_map(|(index, port)| service.families().map(move |f| (index, port, f)));
    each.filter_map(|(index, port, family)| {
        let key = ServiceKey::of(service, port, family);
        Some((index, port, family, facts.desired.services.get(&key)?))
    })
}

fn without_endpoints(facts: &Facts<'_>, service: &Service) -> Vec<Problem> {
    let object = || ObjectRef::from(&service.name);
    let empty: Vec<_> =
        tables(facts, service).filter(|(.., desired)| desired.all.slots.is_empty()).collect();
    let all = tables(facts, service).count();
    if !empty.is_empty() && empty.len() == all {
        let unready = facts.snapshot.model.slices.values().any(|slice| {
            slice.service.as_ref() == Some(&service.name) && !slice.endpoints.is_empty()
        });
        let message = if unready {
            "no endpoint is ready and has a port of this name: clients are refused"
        } else {
            "has no endpoints: clients are refused"
        };
        return vec![doubt(object(), "spec", message)];
    }
    let one = |(index, port, family, _): (usize, &ServicePort, Family, &DesiredService)| {
        let name = port.name.as_deref().unwrap_or("without a name");
        let message = format!("no {family} endpoint has port {name}: clients are refused there");
        doubt(object(), format!("spec.ports[{index}]"), message)
    };
    empty.into_iter().map(one).collect()
}

/// A policy that leaves nobody on the node.
fn not_local(facts: &Facts<'_>, service: &Service) -> BTreeSet<Problem> {
    let Some(node) = facts.node else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for (.., desired) in tables(facts, service) {
        let policies = [
            ("spec.internalTrafficPolicy", &desired.internal),
            ("spec.externalTrafficPolicy", &desired.external),
        ];
        for (field, table) in policies {
            if table.slots.is_empty() && !desired.all.slots.is_empty() {
                let message =
                    format!("Local, and no endpoint is on {node}: clients are dropped there");
                found.insert(doubt(ObjectRef::from(&service.name), field, message));
            }
        }
    }
    found
}

fn node_ports(facts: &Facts<'_>, service: &Service) -> Option<Problem> {
    let ports = service.ports.iter().enumerate();
    let mut taken = ports.filter_map(|(index, port)| {
        let number = port.node_port?.get();
        facts.listening.contains(&(port.protocol, number)).then_some((index, port, number))
    });
    let (index, port, number) = taken.next()?;
    let message = format!(
        "a socket of this machine has {} port {number}: clients of the node port never reach it",
        port.protocol
    );
    let field = format!("spec.ports[{index}].nodePort");
    Some(doubt(ObjectRef::from(&service.name), field, message))
}

fn source_ranges(service: &Service) -> Option<Problem> {
    let ranges = &service.traffic.source_ranges;
    let field = "spec.loadBalancerSourceRanges";
    let object = ObjectRef::from(&service.name);
    if let Some(range) = ranges.iter().find(|range| range.bits == 0) {
        return Some(doubt(object, field, format!("{range} admits everybody")));
    }
    let unguarded = service.families().find(|family| {
        !ranges.is_empty() && ranges.iter().all(|range| Family::of(range.address) != *family)
    })?;
    let message = format!("has no {unguarded} range: everybody is admitted over {unguarded}");
    Some(doubt(object, field, message))
}

fn external_ips(service: &Service) -> Option<Problem> {
    if service.proxying != Proxying::Here {
        return None;
    }
    let mut addresses = service.traffic.external_ips.iter().enumerate();
    let (index, address) = addresses
        .find(|(_, address)| service.families().all(|family| family != Family::of(**address)))?;
    let message = format!("{address} is not served: the Service has no cluster IP of its family");
    let field = format!("spec.externalIPs[{index}]");
    Some(doubt(ObjectRef::from(&service.name), field, message))
}

fn pending(facts: &Facts<'_>, service: &Service) -> Option<Problem> {
    let why = facts.snapshot.pending.get(&service.name)?;
    Some(doubt(ObjectRef::from(&service.name), "status.loadBalancer", why.clone()))
}
