//! Doubts about endpoints: nobody's, written twice, or at addresses that no machine has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Facts, doubt};
use crate::model::{
    EndpointSlice, Kind, ObjectRef, Port, Problem, Protocol, ServiceName, SliceName,
};

/// An endpoint's port of a Service: whose, where, which.
type Place<'a> = (&'a ServiceName, IpAddr, Option<&'a str>, Protocol, Port);

pub(super) fn doubts(facts: &Facts<'_>) -> Vec<Problem> {
    let services = &facts.snapshot.model.services;
    let mut all = Vec::new();
    let mut seen: BTreeMap<Place<'_>, &SliceName> = BTreeMap::new();
    for slice in &facts.objects.slices {
        let object = || ObjectRef::from(&slice.name);
        if let Some(service) = &slice.service {
            if !facts.objects.services.contains_key(service) && !services.contains_key(service) {
                let field = "metadata.labels[kubernetes.io/service-name]";
                all.push(doubt(object(), field, format!("there is no Service {service}")));
            }
            all.extend(twice(slice, service, &mut seen));
        }
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            if let Some(why) = unreachable(facts, endpoint.address) {
                all.push(doubt(object(), format!("endpoints[{index}].addresses[0]"), why));
            }
        }
    }
    all.extend(facts.objects.endpoints.values().filter_map(|older| {
        let service = facts.objects.services.get(&older.service)?;
        let object = ObjectRef::new(Kind::Endpoints, &older.service.namespace, &older.service.name);
        let why =
            "don't count: the Service has a selector, and its endpoints are the pods that it picks";
        (!service.pods.selector.is_empty()).then(|| doubt(object, "subsets", why))
    }));
    all.extend(facts.objects.pods.values().filter_map(|pod| {
        let object = ObjectRef::new(Kind::Pod, &pod.name.namespace, &pod.name.name);
        let why = pod.addresses.iter().find_map(|address| unreachable(facts, *address))?;
        Some(doubt(object, "status.podIPs", why))
    }));
    all
}

/// Endpoints that the Service has already, by this slice or another one. They count once.
fn twice<'a>(
    slice: &'a Arc<EndpointSlice>,
    service: &'a ServiceName,
    seen: &mut BTreeMap<Place<'a>, &'a SliceName>,
) -> Vec<Problem> {
    let mut told = BTreeSet::new();
    let mut all = Vec::new();
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        for port in &slice.ports {
            let name = port.name.as_deref();
            let place = (service, endpoint.address, name, port.protocol, port.port);
            let Some(first) = seen.insert(place, &slice.name) else { continue };
            if told.insert(index) {
                let address = endpoint.address;
                let message = if *first == slice.name {
                    format!("{address} stands twice in this slice, and counts once")
                } else {
                    format!("{address} stands in EndpointSlice {first} too, and counts once")
                };
                let field = format!("endpoints[{index}].addresses[0]");
                all.push(doubt(ObjectRef::from(&slice.name), field, message));
            }
        }
    }
    all
}

/// Why no machine has an address. A cluster IP as an endpoint is refused before.
fn unreachable(facts: &Facts<'_>, address: IpAddr) -> Option<String> {
    if let Some(range) = facts.ranges.iter().find(|range| range.contains(address)) {
        return Some(format!(
            "{address} is of the cluster IPs' range {range}, which no machine has"
        ));
    }
    let holder = facts.snapshot.model.services.values().find(|service| {
        let traffic = &service.traffic;
        traffic.load_balancer_ips.iter().chain(&traffic.external_ips).any(|one| *one == address)
    })?;
    Some(format!("{address} is where Service {} is reached, not a machine's", holder.name))
}
