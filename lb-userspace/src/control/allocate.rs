//! Deals out cluster IPs, node ports and the addresses of load balancers. Who has something keeps it; then
//! come those who write what they want; then those for whom something is chosen; each by name. A pure function.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Config,
    ledger::{Ledger, Record, Taken, take},
    pools, range,
    wish::{Choice, Wish},
};
use crate::model::{Conflict, Family, Invalid, ObjectRef, Port, Rule, Service, ServiceName};

/// By which the search for a port of health checks begins; no port has this name.
const HEALTH_CHECKS: &str = "healthCheckNodePort";

/// Services by name.
pub type Services = BTreeMap<ServiceName, Arc<Service>>;

/// What there was before.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What Services were given.
    pub ledger: &'a Ledger,
    /// Services as they are in force.
    pub services: &'a Services,
    /// Those that keep what they have although they are not there: they may be in a file that can't be read.
    pub absent: &'a BTreeSet<ServiceName>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Dealt {
    /// What Services have now.
    pub ledger: Ledger,
    /// Services with everything filled in; who was refused is as it was before.
    pub services: Services,
    /// Who was refused, and why.
    pub refused: Vec<Conflict>,
    /// Whose load balancer has no address, and why.
    pub pending: BTreeMap<ServiceName, String>,
}

type Refused<'a> = BTreeMap<&'a ServiceName, Vec<Invalid>>;

/// Deals out. A Service that is refused changes nothing for others but that it keeps what it has.
pub fn allocate(services: &Services, before: Before<'_>, config: &Config) -> Dealt {
    let mut refused = Refused::new();
    let mut wishes = BTreeMap::new();
    for (name, service) in services {
        match Wish::of(service, before.ledger.get(name), config) {
            Ok(wish) => drop(wishes.insert(name, wish)),
            Err(wrong) => drop(refused.insert(name, wrong)),
        }
    }
    // Who is refused keeps what others may have counted on, so it begins anew with each of these.
    loop {
        let round = Round { services, wishes: &wishes, before, config, taken: Taken::default() };
        match round.deal(&refused) {
            Ok(dealt) => return dealt,
            Err(more) => {
                wishes.retain(|name, _| !more.contains_key(name));
                refused.extend(more);
            }
        }
    }
}

struct Round<'a, 'w> {
    services: &'a Services,
    wishes: &'w BTreeMap<&'a ServiceName, Wish>,
    before: Before<'a>,
    config: &'a Config,
    taken: Taken<'a>,
}

/// What a Service has so far, in the order of its wish.
#[derive(Clone, Default)]
struct Has {
    cluster_ips: Vec<Option<IpAddr>>,
    node_ports: Vec<Option<u16>>,
    balancer: Vec<IpAddr>,
}

impl<'a> Round<'a, '_> {
    fn deal(mut self, refused: &Refused<'a>) -> Result<Dealt, Refused<'a>> {
        for (name, record) in self.before.ledger {
            if refused.contains_key(name) || self.before.absent.contains(name) {
                self.taken.take_record(name, record);
            }
        }
        let (old, new): (Vec<_>, Vec<_>) =
            self.wishes.keys().copied().partition(|name| self.before.ledger.contains_key(*name));
        let mut has: BTreeMap<&ServiceName, Has> = BTreeMap::new();
        let mut more = Refused::new();
        // What is written and had before, what was chosen before, what is newly written.
        for name in &old {
            self.written(name, true, has.entry(name).or_default(), &mut more);
        }
        for name in &old {
            self.kept(name, has.entry(name).or_default());
        }
        self.published();
        for name in old.iter().chain(&new) {
            self.written(name, false, has.entry(name).or_default(), &mut more);
        }
        if !more.is_empty() {
            return Err(more);
        }
        let all: Vec<_> = old.into_iter().chain(new).collect();
        for name in &all {
            let wrong = self.choose(name, has.entry(name).or_default());
            if !wrong.is_empty() {
                more.insert(name, wrong);
            }
        }
        if !more.is_empty() {
            return Err(more);
        }
        let mut dealt = Dealt::default();
        for written in [true, false] {
            for name in &all {
                if let Err(why) = self.balance(name, written, has.entry(name).or_default()) {
                    dealt.pending.insert((*name).clone(), why);
                }
            }
        }
        for name in all {
            let has = has.entry(name).or_default();
            let service = filled(&self.services[name], has);
            let record = Record::of(&service, has.balancer.clone());
            dealt.ledger.insert(name.clone(), record);
            dealt.services.insert(name.clone(), service);
        }
        self.leave_as_it_was(refused, &mut dealt);
        Ok(dealt)
    }

    fn leave_as_it_was(&self, refused: &Refused<'a>, dealt: &mut Dealt) {
        for (name, wrong) in refused {
            let object = ObjectRef::from(*name);
            let conflict =
                |invalid: &Invalid| Conflict { object: object.clone(), invalid: invalid.clone() };
            dealt.refused.extend(wrong.iter().map(conflict));
            if let Some(service) = self.before.services.get(*name) {
                dealt.services.insert((*name).clone(), service.clone());
            }
        }
        for name in refused.keys().copied().chain(self.before.absent) {
            if let Some(record) = self.before.ledger.get(name) {
                dealt.ledger.insert(name.clone(), record.clone());
            }
        }
    }

    /// Addresses of load balancers that somebody else gave are given to nobody.
    fn published(&mut self) {
        for name in self.wishes.keys().copied() {
            let service = &self.services[name];
            if service.wishes.balancer.as_ref().is_some_and(|balancer| balancer.published) {
                for address in &service.traffic.load_balancer_ips {
                    self.taken.balancer_ips.entry(*address).or_insert(name);
                }
            }
        }
    }

    /// Takes what is written; of those who had it before, or of the others.
    fn written(&mut self, name: &'a ServiceName, had: bool, has: &mut Has, more: &mut Refused<'a>) {
        let wish = &self.wishes[name];
        let record = self.before.ledger.get(name);
        has.cluster_ips.resize(wish.cluster_ips.len(), None);
        has.node_ports.resize(wish.node_ports.len(), None);
        let mut wrong = Vec::new();
        for (index, (_, choice)) in wish.cluster_ips.iter().enumerate() {
            let Choice::Written(address) = *choice else { continue };
            if record.is_some_and(|record| record.cluster_ips.contains(&address)) != had {
                continue;
            }
            match take(&mut self.taken.cluster_ips, address, name) {
                Ok(()) => has.cluster_ips[index] = Some(address),
                Err(holder) => {
                    let rule = Rule::ClusterIpTaken { address, holder: holder.clone() };
                    wrong.push(Invalid::new(format!("spec.clusterIPs[{index}]"), rule));
                }
            }
        }
        for (index, choice) in wish.node_ports.iter().enumerate() {
            let Some(Choice::Written(port)) = *choice else { continue };
            if record.is_some_and(|one| one.all_node_ports().any(|old| old == port)) != had {
                continue;
            }
            match take(&mut self.taken.node_ports, port, name) {
                Ok(()) => has.node_ports[index] = Some(port),
                Err(holder) => {
                    let rule = Rule::NodePortTaken { port, holder: holder.clone() };
                    wrong.push(Invalid::new(wish.node_port_field(index), rule));
                }
            }
        }
        if !wrong.is_empty() {
            more.entry(name).or_default().extend(wrong);
        }
    }

    /// Takes what was given before. Where somebody else has it now, which only a broken ledger brings about,
    /// something else will be chosen.
    fn kept(&mut self, name: &'a ServiceName, has: &mut Has) {
        let wish = &self.wishes[name];
        for (index, (_, choice)) in wish.cluster_ips.iter().enumerate() {
            if let Choice::Kept(address) = *choice
                && take(&mut self.taken.cluster_ips, address, name).is_ok()
            {
                has.cluster_ips[index] = Some(address);
            }
        }
        for (index, choice) in wish.node_ports.iter().enumerate() {
            if let Some(Choice::Kept(port)) = *choice
                && take(&mut self.taken.node_ports, port, name).is_ok()
            {
                has.node_ports[index] = Some(port);
            }
        }
        for (_, choice) in &wish.balancer {
            if let Choice::Kept(address) = *choice
                && take(&mut self.taken.balancer_ips, address, name).is_ok()
            {
                has.balancer.push(address);
            }
        }
    }

    /// Chooses what is left.
    fn choose(&mut self, name: &'a ServiceName, has: &mut Has) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        for (index, (family, _)) in self.wishes[name].cluster_ips.iter().enumerate() {
            if has.cluster_ips[index].is_some() {
                continue;
            }
            let taken = |address| self.taken.cluster_ips.contains_key(&address);
            let range = range::of_family(&self.config.ranges, *family);
            let seed = range::seed("cluster-ip", name, &family.to_string());
            if let Some(address) = range.and_then(|range| range::address(range, seed, taken)) {
                self.taken.cluster_ips.insert(address, name);
                has.cluster_ips[index] = Some(address);
            } else {
                let rule = Rule::RangeFull { what: "serviceIP", option: "--service-cidr" };
                wrong.push(Invalid::new("spec.clusterIP", rule));
            }
        }
        let (ports, wish) = (&self.services[name].ports, &self.wishes[name]);
        for (index, choice) in wish.node_ports.iter().enumerate() {
            if choice.is_none() || has.node_ports[index].is_some() {
                continue;
            }
            // The same port of another protocol has the same node port.
            let port = ports.get(index);
            let twin = (0..ports.len()).find(|other| {
                port.is_some_and(|port| ports[*other].port == port.port)
                    && has.node_ports[*other].is_some()
            });
            let name_of_port =
                port.map_or(HEALTH_CHECKS, |port| port.name.as_deref().unwrap_or_default());
            let chosen = twin.and_then(|twin| has.node_ports[twin]).or_else(|| {
                let taken = |port| self.taken.node_ports.contains_key(&port);
                let seed = range::seed("node-port", name, name_of_port);
                range::node_port(self.config.node_ports, seed, taken)
            });
            if let Some(chosen) = chosen {
                self.taken.node_ports.insert(chosen, name);
                has.node_ports[index] = Some(chosen);
            } else {
                let rule = Rule::RangeFull { what: "nodePort", option: "--node-port-range" };
                wrong.push(Invalid::new(wish.node_port_field(index), rule));
            }
        }
        wrong
    }

    /// Gives the load balancer its addresses. What it can't have it goes without, and why is said.
    fn balance(
        &mut self,
        name: &'a ServiceName,
        written: bool,
        has: &mut Has,
    ) -> Result<(), String> {
        let Some(wish) = &self.services[name].wishes.balancer else { return Ok(()) };
        let mut outcome = Ok(());
        for (family, choice) in &self.wishes[name].balancer {
            let there = has.balancer.iter().any(|address| Family::of(*address) == *family);
            if there || matches!(choice, Choice::Written(_)) != written {
                continue;
            }
            let pools = pools::fitting(&self.config.pools, wish, *family).unwrap_or_default();
            let chosen = match *choice {
                Choice::Written(address) if !pools::hold(&pools, address) => Err(format!(
                    "spec.loadBalancerIP: {address} is in no pool for this Service; choose another one, \
                     or give --lb-pool"
                )),
                Choice::Written(address) => take(&mut self.taken.balancer_ips, address, name)
                    .map(|()| address)
                    .map_err(|holder| {
                        format!("spec.loadBalancerIP: {address} is allocated to Service {holder}")
                    }),
                Choice::Kept(_) | Choice::Any => {
                    let taken = |address| self.taken.balancer_ips.contains_key(&address);
                    let seed = range::seed("load-balancer", name, &family.to_string());
                    let mut free = pools.iter().map(|pool| range::pool_address(pool, seed, taken));
                    free.find_map(|address| address).ok_or_else(|| {
                        let kind = if wish.internal { "internal" } else { "public" };
                        format!("no {kind} {family} address is left for it; give another --lb-pool")
                    })
                }
            };
            match chosen {
                Ok(address) => {
                    self.taken.balancer_ips.insert(address, name);
                    has.balancer.push(address);
                }
                Err(why) => outcome = Err(why),
            }
        }
        outcome
    }
}

/// The Service with what it has; the same one if nothing was left open.
fn filled(service: &Arc<Service>, has: &Has) -> Arc<Service> {
    let cluster_ips: Vec<IpAddr> = has.cluster_ips.iter().copied().flatten().collect();
    let port = |index: usize| has.node_ports.get(index).copied().flatten().and_then(Port::new);
    let ports = service.ports.iter().enumerate();
    let health_check_port = port(service.ports.len());
    let same_ports = ports.clone().all(|(index, one)| one.node_port == port(index))
        && service.traffic.health_check_port == health_check_port;
    if same_ports && cluster_ips == service.cluster_ips && has.balancer.is_empty() {
        return service.clone();
    }
    let mut filled = Service::clone(service);
    filled.cluster_ips = cluster_ips;
    for (index, one) in filled.ports.iter_mut().enumerate() {
        one.node_port = port(index);
    }
    filled.traffic.health_check_port = health_check_port;
    filled.traffic.load_balancer_ips.extend(&has.balancer);
    Arc::new(filled)
}

#[cfg(test)]
mod tests;
