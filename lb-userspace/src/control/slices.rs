//! Selectors: which pods are a Service's endpoints, as slices. What the `EndpointSlice` controller does,
//! without its care to write few objects: nobody else reads these.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Objects;
use crate::model::{
    Distribution, Endpoint, EndpointPort, EndpointSlice, Family, Hints, Pod, Service, ServiceName,
    ServicePort, SliceName, TargetPort,
};

/// How many endpoints a slice holds.
pub const LARGEST: usize = 100;

/// The slices of all Services with a selector, besides those that somebody wrote.
pub fn of(
    objects: &Objects,
    services: &BTreeMap<ServiceName, Arc<Service>>,
    families: impl Fn(&Service) -> Vec<Family>,
) -> Vec<Arc<EndpointSlice>> {
    let index = Index::of(objects);
    let mut names: BTreeSet<SliceName> =
        objects.slices.iter().map(|slice| slice.name.clone()).collect();
    let mut slices = Vec::new();
    for service in services.values() {
        if service.pods.selector.is_empty() {
            continue;
        }
        let pods = index.pods(service);
        for family in families(service) {
            slices.extend(of_family(objects, service, &pods, family, &mut names));
        }
    }
    slices
}

/// Pods by namespace and label, so that a Service looks at few of them.
struct Index<'a>(BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>);

impl<'a> Index<'a> {
    fn of(objects: &'a Objects) -> Self {
        let mut index: BTreeMap<_, Vec<&Pod>> = BTreeMap::new();
        for pod in objects.pods.values() {
            for (key, value) in &pod.labels {
                let label = (pod.name.namespace.as_str(), key.as_str(), value.as_str());
                index.entry(label).or_default().push(pod);
            }
        }
        Self(index)
    }

    /// The pods of a Service, by name: those with its rarest label that have the others too.
    fn pods(&self, service: &Service) -> Vec<&'a Pod> {
        let namespace = service.name.namespace.as_str();
        let mut fewest: Option<&[&Pod]> = None;
        for (key, value) in &service.pods.selector {
            let Some(pods) = self.0.get(&(namespace, key.as_str(), value.as_str())) else {
                return Vec::new();
            };
            if fewest.is_none_or(|fewest| pods.len() < fewest.len()) {
                fewest = Some(pods);
            }
        }
        let pods = fewest.unwrap_or_default().iter().copied();
        pods.filter(|pod| service.pods.pick(pod)).collect()
    }
}

fn of_family(
    objects: &Objects,
    service: &Service,
    pods: &[&Pod],
    family: Family,
    names: &mut BTreeSet<SliceName>,
) -> Vec<Arc<EndpointSlice>> {
    // A slice has one list of ports, so pods that name them differently go to different ones.
    let mut groups: Vec<(Vec<EndpointPort>, Vec<Endpoint>)> = Vec::new();
    for pod in pods.iter().filter(|pod| !pod.finished) {
        let Some(endpoint) = endpoint(objects, service, pod, family) else { continue };
        let ports = ports(service, pod);
        match groups.iter_mut().find(|(other, _)| *other == ports) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => groups.push((ports, vec![endpoint])),
        }
    }
    let mut numbers = 1_u32..;
    let mut slices = Vec::new();
    for (ports, endpoints) in groups {
        for some in endpoints.chunks(LARGEST) {
            let name = |number| {
                let name = format!("{}-{}-{number}", service.name.name, suffix(family));
                SliceName::new(&service.name.namespace, name)
            };
            // One that somebody wrote keeps its name.
            let Some(name) = numbers.by_ref().map(name).find(|name| names.insert(name.clone()))
            else {
                break;
            };
            slices.push(Arc::new(EndpointSlice {
                name,
                service: Some(service.name.clone()),
                family,
                endpoints: some.to_vec(),
                ports: ports.clone(),
            }));
        }
    }
    slices
}

const fn suffix(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// A pod as an endpoint; `None` if it has no address in the family.
fn endpoint(objects: &Objects, service: &Service, pod: &Pod, family: Family) -> Option<Endpoint> {
    let address = pod.address(family)?;
    let node = pod.node.as_ref().and_then(|name| objects.nodes.get(name));
    let zone = node.and_then(|node| node.zone.clone());
    // One that is going is never ready, unless all are said to be.
    let ready = service.pods.publish_not_ready || (pod.ready && !pod.terminating);
    let hints = if ready { hints(service, pod, zone.as_deref()) } else { Hints::default() };
    Some(Endpoint {
        address,
        ready,
        serving: pod.ready,
        terminating: pod.terminating,
        node: pod.node.clone(),
        zone,
        hints,
        weight: pod.weight,
    })
}

/// For whom an endpoint is, as `trafficDistribution` has it.
fn hints(service: &Service, pod: &Pod, zone: Option<&str>) -> Hints {
    let zones = || zone.map(str::to_owned).into_iter().collect();
    match service.pods.distribution {
        Distribution::Any => Hints::default(),
        Distribution::SameZone => Hints { nodes: BTreeSet::new(), zones: zones() },
        Distribution::SameNode => {
            Hints { nodes: pod.node.iter().cloned().collect(), zones: zones() }
        }
    }
}

/// The ports of a Service on a pod. One that the pod has no number for is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let number = |port: &ServicePort| match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => pod.port(name, port.protocol),
    };
    let ports = service.ports.iter();
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone(),
                protocol: port.protocol,
                port: number(port)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
