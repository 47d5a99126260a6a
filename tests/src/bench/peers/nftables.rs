//! kube-proxy's mode `nftables`: `pkg/proxy/nftables` of Kubernetes.
//!
//! A table `kube-proxy` in each family. `services`, from the nat hooks, looks addresses up in the map `service-ips`, which
//! leads to a chain of the service; that throws a die and goes to a chain of an endpoint. Node ports are looked up in
//! `service-nodeports`, for destinations in `nodeport-ips`, and pass a chain that marks them for masquerading. New
//! connections are looked up in the maps of services without endpoints and of addresses with a firewall, and behind DNAT in
//! the set of cluster IPs.
//!
//! Every line is a command of its own, and every chain is flushed before it is filled, as kube-proxy does it. Left out are
//! comments, and the rule that drops packets for unused addresses of the service network.

use std::{
    collections::HashSet,
    fmt, mem,
    net::{IpAddr, SocketAddr},
};

use super::{
    Command, Loading, Service,
    lines::Lines,
    view::{MARK, View, digest, port_name, word},
};
use crate::lab::cast::Family;

/// Chains at hooks: name, type, hook, priority. Filters see packets before DNAT, but for the last one.
const BASE_CHAINS: &[(&str, &str, &str, i32)] = &[
    ("filter-prerouting", "filter", "prerouting", -110),
    ("filter-input", "filter", "input", -110),
    ("filter-forward", "filter", "forward", -110),
    ("filter-output", "filter", "output", -110),
    ("filter-output-post-dnat", "filter", "output", -90),
    ("nat-prerouting", "nat", "prerouting", -100),
    ("nat-output", "nat", "output", -100),
    ("nat-postrouting", "nat", "postrouting", 100),
];

/// From where, under which condition, to which chain.
const JUMPS: &[(&str, &str, &str)] = &[
    ("filter-input", "ct state new ", "nodeport-endpoints-check"),
    ("filter-input", "ct state new ", "service-endpoints-check"),
    ("filter-forward", "ct state new ", "service-endpoints-check"),
    ("filter-output", "ct state new ", "service-endpoints-check"),
    ("filter-prerouting", "ct state new ", "firewall-check"),
    ("filter-output", "ct state new ", "firewall-check"),
    ("nat-output", "", "services"),
    ("nat-prerouting", "", "services"),
    ("nat-postrouting", "", "masquerading"),
    ("filter-forward", "ct state new ", "cluster-ips-check"),
    ("filter-output-post-dnat", "ct state new ", "cluster-ips-check"),
];

const CHAINS: &[&str] = &[
    "nodeport-endpoints-check",
    "service-endpoints-check",
    "firewall-check",
    "services",
    "masquerading",
    "cluster-ips-check",
    "mark-for-masquerade",
    "reject-chain",
];

/// Commands for one table.
struct Script {
    family: Family,
    lines: Lines,
}

/// The chains of a service.
struct Chains {
    service: String,
    /// If there is a node port.
    external: Option<String>,
    endpoints: Vec<String>,
}

/// An element of a map.
#[derive(PartialEq, Eq)]
struct Element {
    of: &'static str,
    key: String,
    value: String,
}

/// How many services come at once if it is to be soon: the kernel looks for each anonymous set, of which every service
/// has one, among all that is new in the transaction.
const SERVICES: usize = 1000;

/// Everything.
pub(super) fn load(view: &View<'_>, loading: Loading) -> Vec<Command> {
    let at_once = match loading {
        Loading::AtOnce => view.services.len(),
        Loading::Soon => SERVICES,
    };
    let mut script = Script::new(view.family);
    script.base();
    script.set("nodeport-ips", view.node_addresses.iter().copied());
    script.set("cluster-ips", view.services.iter().map(|service| service.address));
    let mut commands = Vec::new();
    for services in view.services.chunks(at_once) {
        for service in services {
            script.service(view, service);
            for element in elements(service) {
                script.add_element(&element);
            }
        }
        commands.push(mem::replace(&mut script, Script::new(view.family)).command());
    }
    commands
}

/// A partial sync: chains of the services that are different, written anew. Chains that nothing leads to any more are
/// flushed; kube-proxy deletes them a second or more later, in another transaction.
pub(super) fn change(before: &View<'_>, after: &View<'_>) -> Command {
    let mut script = Script::new(after.family);
    let (mut stale_chains, mut stale_elements) = (Vec::new(), Vec::new());
    for (before, now) in before.different(after) {
        script.service(after, now);
        let (old, new) = (elements(before), elements(now));
        for element in new.iter().filter(|element| !old.contains(element)) {
            script.add_element(element);
        }
        stale_elements.extend(old.into_iter().filter(|element| !new.contains(element)));
        let (old, new) = (Chains::new(before), Chains::new(now));
        let new = new.all();
        stale_chains
            .extend(old.all().into_iter().filter(|chain| !new.contains(chain)).map(str::to_owned));
    }
    for chain in &stale_chains {
        script.flush_chain(chain);
    }
    for element in &stale_elements {
        script.delete_element(element);
    }
    script.command()
}

impl Script {
    fn new(family: Family) -> Self {
        Self { family, lines: Lines::default() }
    }

    fn command(self) -> Command {
        (vec!["nft", "-f", "-"], self.lines.text())
    }

    /// The word for the protocol, in rules and for tables.
    fn ip(&self) -> &'static str {
        match self.family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    fn add_chain(&mut self, name: &str) {
        let ip = self.ip();
        self.lines.add(format_args!("add chain {ip} kube-proxy {name}"));
        self.flush_chain(name);
    }

    fn flush_chain(&mut self, name: &str) {
        let ip = self.ip();
        self.lines.add(format_args!("flush chain {ip} kube-proxy {name}"));
    }

    fn rule(&mut self, chain: &str, rule: fmt::Arguments<'_>) {
        let ip = self.ip();
        self.lines.add(format_args!("add rule {ip} kube-proxy {chain} {rule}"));
    }

    fn add_element(&mut self, Element { of, key, value }: &Element) {
        let ip = self.ip();
        self.lines.add(format_args!("add element {ip} kube-proxy {of} {{ {key} : {value} }}"));
    }

    fn delete_element(&mut self, Element { of, key, .. }: &Element) {
        let ip = self.ip();
        self.lines.add(format_args!("delete element {ip} kube-proxy {of} {{ {key} }}"));
    }

    /// Fills a set of addresses, of which some may come several times.
    fn set(&mut self, set: &str, addresses: impl Iterator<Item = IpAddr>) {
        let (ip, mut known) = (self.ip(), HashSet::new());
        for address in addresses.filter(|address| known.insert(*address)) {
            self.lines.add(format_args!("add element {ip} kube-proxy {set} {{ {address} }}"));
        }
    }

    /// What doesn't depend on services.
    fn base(&mut self) {
        let ip = self.ip();
        self.lines.add(format_args!("add table {ip} kube-proxy"));
        for (name, kind, hook, priority) in BASE_CHAINS {
            self.lines.add(format_args!(
                "add chain {ip} kube-proxy {name} {{ type {kind} hook {hook} priority {priority} ; }}"
            ));
            self.flush_chain(name);
        }
        for chain in CHAINS {
            self.add_chain(chain);
        }
        for (from, condition, to) in JUMPS {
            self.rule(from, format_args!("{condition}jump {to}"));
        }
        self.masquerading();
        self.sets_and_maps();
        self.lookups();
    }

    fn masquerading(&mut self) {
        self.rule("mark-for-masquerade", format_args!("meta mark set meta mark or {MARK}"));
        self.rule("masquerading", format_args!("meta mark and {MARK} == 0 return"));
        self.rule("masquerading", format_args!("meta mark set meta mark xor {MARK}"));
        self.rule("masquerading", format_args!("masquerade fully-random"));
    }

    fn sets_and_maps(&mut self) {
        let ip = self.ip();
        let address = match self.family {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        };
        for set in ["cluster-ips", "nodeport-ips"] {
            self.lines.add(format_args!("add set {ip} kube-proxy {set} {{ type {address} ; }}"));
        }
        for map in ["no-endpoint-services", "firewall-ips", "service-ips"] {
            self.lines.add(format_args!(
                "add map {ip} kube-proxy {map} {{ type {address} . inet_proto . inet_service : verdict ; }}"
            ));
        }
        for map in ["no-endpoint-nodeports", "service-nodeports"] {
            self.lines.add(format_args!(
                "add map {ip} kube-proxy {map} {{ type inet_proto . inet_service : verdict ; }}"
            ));
        }
    }

    /// Who looks what up where.
    fn lookups(&mut self) {
        let ip = self.ip();
        self.rule("cluster-ips-check", format_args!("{ip} daddr @cluster-ips reject"));
        self.rule("reject-chain", format_args!("reject"));
        for (chain, map) in [
            ("service-endpoints-check", "no-endpoint-services"),
            ("firewall-check", "firewall-ips"),
            ("services", "service-ips"),
        ] {
            self.rule(chain, format_args!("{ip} daddr . meta l4proto . th dport vmap @{map}"));
        }
        for (chain, map) in [
            ("nodeport-endpoints-check", "no-endpoint-nodeports"),
            ("services", "service-nodeports"),
        ] {
            self.rule(
                chain,
                format_args!("{ip} daddr @nodeport-ips meta l4proto . th dport vmap @{map}"),
            );
        }
    }

    /// The chains of a service and its endpoints, if it has any.
    fn service(&mut self, view: &View<'_>, service: &Service) {
        if service.endpoints.is_empty() {
            return;
        }
        let chains = Chains::new(service);
        for chain in chains.all() {
            self.add_chain(chain);
        }
        let (ip, protocol) = (self.ip(), word(service.protocol));
        if let Some(pods) = &view.pods {
            let Service { address, port, .. } = service;
            self.rule(
                &chains.service,
                format_args!("{ip} daddr {address} {protocol} dport {port} {ip} saddr != {pods} jump mark-for-masquerade"),
            );
        }
        if let Some(external) = &chains.external {
            self.rule(external, format_args!("jump mark-for-masquerade"));
            self.rule(external, format_args!("goto {}", chains.service));
        }
        self.choice(&chains);
        for (endpoint, chain) in service.endpoints.iter().zip(&chains.endpoints) {
            let address = endpoint.ip();
            self.rule(chain, format_args!("{ip} saddr {address} jump mark-for-masquerade"));
            self.rule(chain, format_args!("meta l4proto {protocol} dnat to {endpoint}"));
        }
    }

    /// The die.
    fn choice(&mut self, chains: &Chains) {
        let faces: Vec<String> = chains
            .endpoints
            .iter()
            .enumerate()
            .map(|(number, chain)| format!("{number} : goto {chain}"))
            .collect();
        self.rule(
            &chains.service,
            format_args!("numgen random mod {} vmap {{ {} }}", faces.len(), faces.join(" , ")),
        );
    }
}

impl Chains {
    /// Those that a service has. One without endpoints has none.
    fn new(service: &Service) -> Self {
        let Service { name, protocol, .. } = service;
        let name = format!("default/{name}/{}/{}", word(*protocol), port_name(service));
        let base = hashed(&name);
        let endpoint = |endpoint: &SocketAddr| {
            // Colons can't be in names.
            let address = endpoint.ip().to_string().replace(':', ".");
            format!("endpoint-{}", hashed(&format!("{name}__{address}/{}", endpoint.port())))
        };
        Self {
            service: format!("service-{base}"),
            external: service.node_port.map(|_| format!("external-{base}")),
            endpoints: service.endpoints.iter().map(endpoint).collect(),
        }
    }

    /// In the order in which they are made.
    fn all(&self) -> Vec<&str> {
        if self.endpoints.is_empty() {
            return Vec::new();
        }
        let endpoints = self.endpoints.iter().map(String::as_str);
        endpoints.chain([self.service.as_str()]).chain(self.external.as_deref()).collect()
    }
}

/// A name with eight characters in front that differ where names hardly do.
fn hashed(name: &str) -> String {
    format!("{:08X}-{name}", digest(&name) >> 32)
}

/// What leads to the service.
fn elements(service: &Service) -> Vec<Element> {
    let Service { address, port, node_port, .. } = service;
    let protocol = word(service.protocol);
    let chains = Chains::new(service);
    let ip = format!("{address} . {protocol} . {port}");
    let node_port = node_port.map(|port| format!("{protocol} . {port}"));
    let (of_ip, to_service, of_node_port, to_external) = if service.endpoints.is_empty() {
        let reject = || "goto reject-chain".to_owned();
        ("no-endpoint-services", reject(), "no-endpoint-nodeports", reject())
    } else {
        let external = chains.external.unwrap_or_default();
        let to = |chain| format!("goto {chain}");
        ("service-ips", to(chains.service), "service-nodeports", to(external))
    };
    let ip = Element { of: of_ip, key: ip, value: to_service };
    let node_port = node_port.map(|key| Element { of: of_node_port, key, value: to_external });
    [ip].into_iter().chain(node_port).collect()
}
