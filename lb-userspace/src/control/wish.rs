//! What a Service wants, given what it has: what is written, what it keeps, what is to be chosen; and what
//! of it may not change any more (`ValidateServiceUpdate`).

use std::net::IpAddr;

use super::{Config, ledger::Record, pools, range};
use crate::model::{
    Family, FamilyPolicy, Invalid, Port, Proxying, Rule, Service, ServicePort, ServiceType,
};

const FIXED: &str = "may not change once set; to change it, remove the Service and make it anew";

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    /// It is written.
    Written(T),
    /// It was given before.
    Kept(T),
    /// Any will do.
    Any,
}

/// What a Service wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Its cluster IPs, the first one first.
    pub cluster_ips: Vec<(Family, Choice<IpAddr>)>,
    /// A node port for each port, then one for health checks; `None`: none.
    pub node_ports: Vec<Option<Choice<u16>>>,
    /// The addresses of its load balancer, as far as we choose them.
    pub balancer: Vec<(Family, Choice<IpAddr>)>,
}

impl Wish {
    /// What a Service wants. Fails with everything that it can't have whoever else is there.
    pub fn of(
        service: &Service,
        record: Option<&Record>,
        config: &Config,
    ) -> Result<Self, Vec<Invalid>> {
        // What was a name in DNS before is as good as new.
        let record = record.filter(|record| !record.external_name);
        let mut wrong = Vec::new();
        let mut wish = Self::default();
        if service.service_type != ServiceType::ExternalName {
            wish.cluster_ips = cluster_ips(service, record, config, &mut wrong);
            wish.node_ports = node_ports(service, record, config, &mut wrong);
            let others: Vec<u16> = wish.node_ports.iter().copied().filter_map(number).collect();
            let port = health_check_port(service, record, config, &others, &mut wrong);
            wish.node_ports.push(port);
            wish.balancer = balancer(service, record, config, &wish.cluster_ips, &mut wrong);
        }
        if wrong.is_empty() { Ok(wish) } else { Err(wrong) }
    }

    /// The field that asks for the node port of this place.
    pub fn node_port_field(&self, index: usize) -> String {
        if index + 1 == self.node_ports.len() {
            "spec.healthCheckNodePort".to_owned()
        } else {
            format!("spec.ports[{index}].nodePort")
        }
    }
}

/// The number that is wanted, if it has to be that one.
const fn number(choice: Option<Choice<u16>>) -> Option<u16> {
    match choice {
        Some(Choice::Written(port) | Choice::Kept(port)) => Some(port),
        Some(Choice::Any) | None => None,
    }
}

fn cluster_ips(
    service: &Service,
    record: Option<&Record>,
    config: &Config,
    wrong: &mut Vec<Invalid>,
) -> Vec<(Family, Choice<IpAddr>)> {
    let written = &service.cluster_ips;
    let headless = service.proxying == Proxying::Headless;
    if record.is_some_and(|record| record.headless != headless) {
        let value = if headless { "[\"None\"]".to_owned() } else { format!("{written:?}") };
        wrong.push(Invalid::new("spec.clusterIPs[0]", Rule::Invalid { value, must: FIXED }));
    }
    if headless {
        return Vec::new();
    }
    let kept = record.map_or(&[][..], |record| &record.cluster_ips);
    for (index, (now, before)) in written.iter().zip(kept).enumerate() {
        if now != before {
            let rule = Rule::Invalid { value: format!("{written:?}"), must: FIXED };
            wrong.push(Invalid::new(format!("spec.clusterIPs[{index}]"), rule));
        }
    }
    for (index, (family, before)) in service.wishes.families.iter().zip(kept).enumerate() {
        if *family != Family::of(*before) {
            let rule = Rule::Invalid { value: format!("\"{family}\""), must: FIXED };
            wrong.push(Invalid::new(format!("spec.ipFamilies[{index}]"), rule));
        }
    }
    let mut wanted: Vec<_> =
        written.iter().map(|ip| (Family::of(*ip), Choice::Written(*ip))).collect();
    wanted
        .extend(kept.iter().skip(written.len()).map(|ip| (Family::of(*ip), kept_in(config, *ip))));
    let further = service.wishes.families.iter().skip(wanted.len());
    let further: Vec<_> = further.map(|family| (*family, Choice::Any)).collect();
    wanted.extend(further);
    if wanted.is_empty() {
        let first = config.ranges.first().map_or(Family::V4, |range| Family::of(range.address));
        wanted.push((first, Choice::Any));
    }
    as_policy_has_it(service, record, config, &mut wanted, wrong);
    if service.proxying == Proxying::LeftAlone {
        // Whoever serves it can do without.
        wanted.retain(|(family, choice)| {
            *choice != Choice::Any || range::of_family(&config.ranges, *family).is_some()
        });
    }
    check_ranges(service, config, &wanted, wrong);
    wanted
}

/// What a Service was given stays as long as it is in the range; the range may be another one now.
fn kept_in(config: &Config, address: IpAddr) -> Choice<IpAddr> {
    match range::of_family(&config.ranges, Family::of(address)) {
        Some(range) if !range::can_be_given(range, address) => Choice::Any,
        _ => Choice::Kept(address),
    }
}

fn as_policy_has_it(
    service: &Service,
    record: Option<&Record>,
    config: &Config,
    wanted: &mut Vec<(Family, Choice<IpAddr>)>,
    wrong: &mut Vec<Invalid>,
) {
    let other = match wanted[..] {
        [(Family::V4, _)] => Family::V6,
        [(Family::V6, _)] => Family::V4,
        _ => {
            if service.wishes.policy == Some(FamilyPolicy::Single) {
                wanted.truncate(1);
            }
            return;
        }
    };
    let there = range::of_family(&config.ranges, other).is_some();
    match service.wishes.policy {
        Some(FamilyPolicy::Require) if there => wanted.push((other, Choice::Any)),
        Some(FamilyPolicy::Require) => {
            wrong.push(Invalid::new("spec.ipFamilyPolicy", Rule::NotDualStack));
        }
        // One that had to do with one family keeps to it when the cluster gets another.
        Some(FamilyPolicy::Prefer) if there && record.is_none_or(|one| !one.prefers_two) => {
            wanted.push((other, Choice::Any));
        }
        _ => {}
    }
}

fn check_ranges(
    service: &Service,
    config: &Config,
    wanted: &[(Family, Choice<IpAddr>)],
    wrong: &mut Vec<Invalid>,
) {
    for (index, (family, choice)) in wanted.iter().enumerate() {
        match (choice, range::of_family(&config.ranges, *family)) {
            (Choice::Written(address), Some(range)) if !range::can_be_given(range, *address) => {
                let rule = Rule::ClusterIpRange { address: *address, range: *range };
                wrong.push(Invalid::new(format!("spec.clusterIPs[{index}]"), rule));
            }
            (Choice::Any, None)
                if service.wishes.families.len() > index && !config.ranges.is_empty() =>
            {
                let rule = Rule::NotConfigured { family: *family };
                wrong.push(Invalid::new(format!("spec.ipFamilies[{index}]"), rule));
            }
            (Choice::Any, None) => {
                let rule = Rule::NeedsClusterIp { family: *family };
                wrong.push(Invalid::new("spec.clusterIP", rule));
            }
            _ => {}
        }
    }
}

fn node_ports(
    service: &Service,
    record: Option<&Record>,
    config: &Config,
    wrong: &mut Vec<Invalid>,
) -> Vec<Option<Choice<u16>>> {
    let (ports, range) = (&service.ports, config.node_ports);
    let can_have =
        matches!(service.service_type, ServiceType::NodePort | ServiceType::LoadBalancer);
    let mut used: Vec<u16> = ports.iter().filter_map(|port| Some(port.node_port?.get())).collect();
    for (index, port) in ports.iter().enumerate() {
        let port = port.node_port.filter(|port| !range.ports().contains(&port.get()));
        if let Some(port) = port {
            let rule = Rule::NodePortRange { port: port.get(), range };
            wrong.push(Invalid::new(format!("spec.ports[{index}].nodePort"), rule));
        }
    }
    let mut kept = |port: &ServicePort| {
        let name = port.name.as_deref().unwrap_or_default();
        let before = *record?.node_ports.get(name)?;
        if used.contains(&before) || !range.ports().contains(&before) {
            return None;
        }
        used.push(before);
        Some(before)
    };
    let of = |port: &ServicePort| match port.node_port {
        _ if !can_have => None,
        Some(written) => Some(Choice::Written(written.get())),
        // Those that were given stay, also when no more are to be.
        None => match kept(port) {
            Some(before) => Some(Choice::Kept(before)),
            None => service.wishes.node_ports.then_some(Choice::Any),
        },
    };
    ports.iter().map(of).collect()
}

/// The port of health checks, beside those that the Service wants for its ports.
fn health_check_port(
    service: &Service,
    record: Option<&Record>,
    config: &Config,
    others: &[u16],
    wrong: &mut Vec<Invalid>,
) -> Option<Choice<u16>> {
    const FIELD: &str = "spec.healthCheckNodePort";
    if !service.needs_health_check() {
        return None;
    }
    let range = config.node_ports;
    let written = service.traffic.health_check_port.map(Port::get);
    let before = record.and_then(|record| record.health_check_port);
    if let (Some(written), Some(before)) = (written, before)
        && written != before
    {
        let rule = Rule::Invalid { value: written.to_string(), must: FIXED };
        wrong.push(Invalid::new(FIELD, rule));
    }
    if let Some(port) = written.filter(|port| !range.ports().contains(port)) {
        wrong.push(Invalid::new(FIELD, Rule::NodePortRange { port, range }));
    }
    let kept = before.filter(|before| range.ports().contains(before));
    if let Some(port) = written.or(kept).filter(|port| others.contains(port)) {
        wrong.push(Invalid::new(FIELD, Rule::Duplicate { value: port.to_string() }));
    }
    Some(match (written, kept) {
        (Some(written), _) => Choice::Written(written),
        (None, Some(kept)) => Choice::Kept(kept),
        (None, None) => Choice::Any,
    })
}

fn balancer(
    service: &Service,
    record: Option<&Record>,
    config: &Config,
    cluster_ips: &[(Family, Choice<IpAddr>)],
    wrong: &mut Vec<Invalid>,
) -> Vec<(Family, Choice<IpAddr>)> {
    let Some(wish) = &service.wishes.balancer else { return Vec::new() };
    if record.is_some_and(|record| record.balancer && record.class != wish.class) {
        let value = wish.class.as_ref().map_or("null".to_owned(), |class| format!("{class:?}"));
        wrong.push(Invalid::new("spec.loadBalancerClass", Rule::Invalid { value, must: FIXED }));
    }
    if wish.published {
        return Vec::new();
    }
    let mut wanted = Vec::new();
    for (family, _) in cluster_ips {
        let Some(pools) = pools::fitting(&config.pools, wish, *family) else { continue };
        let of_family = |address: &IpAddr| Family::of(*address) == *family;
        let before = record.and_then(|record| {
            record.balancer_ips.iter().copied().find(|ip| of_family(ip) && pools::hold(&pools, *ip))
        });
        let choice = match (wish.address, before) {
            (Some(written), Some(before)) if written == before => Choice::Kept(before),
            (Some(written), _) if of_family(&written) => Choice::Written(written),
            // One address is asked for, and it is of the other family.
            (Some(_), _) => continue,
            (None, Some(before)) => Choice::Kept(before),
            (None, None) => Choice::Any,
        };
        wanted.push((*family, choice));
    }
    wanted
}
