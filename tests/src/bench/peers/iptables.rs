//! kube-proxy's mode `iptables`: `pkg/proxy/iptables` of Kubernetes.
//!
//! `KUBE-SERVICES`, from the nat table's hooks, is a list of all services, a rule each, that is searched from its beginning;
//! its last rule leads on to `KUBE-NODEPORTS`, for addresses of the node. A rule leads to the service's chain
//! (`KUBE-SVC-…`, through `KUBE-EXT-…` for node ports), which tries its endpoints one after the other with the
//! probability that is due to each, and goes to a chain of the endpoint (`KUBE-SEP-…`).
//!
//! With more than a thousand endpoints rules for endpoints have no comments, and chains that nothing leads to any more
//! stay for a while; so does kube-proxy, for large clusters. Left out is `route_localnet`, which lets node ports be
//! reached by 127.0.0.1. A partial sync still writes the whole list of services, because chains are replaced as a whole.

use std::net::SocketAddr;

use super::{
    Command, Loading, Service,
    lines::Lines,
    view::{MARK, View, digest, port_name, word},
};
use crate::lab::cast::Family;

/// Beyond so many endpoints a cluster is large.
const LARGE: usize = 1000;

const NEW: &str = "-m conntrack --ctstate NEW ";
const PORTALS: &str = "kubernetes service portals";
const EXTERNAL_PORTALS: &str = "kubernetes externally-visible service portals";
const FIREWALL: &str = "kubernetes load balancer firewall";

/// From which of the kernel's chains, under which condition, to which of ours, with which comment. Each is
/// put before those that are there.
const FILTER_JUMPS: &[(&str, &str, &str, &str)] = &[
    ("INPUT", NEW, "KUBE-EXTERNAL-SERVICES", EXTERNAL_PORTALS),
    ("FORWARD", NEW, "KUBE-EXTERNAL-SERVICES", EXTERNAL_PORTALS),
    ("INPUT", "", "KUBE-NODEPORTS", "kubernetes health check service ports"),
    ("FORWARD", NEW, "KUBE-SERVICES", PORTALS),
    ("OUTPUT", NEW, "KUBE-SERVICES", PORTALS),
    ("FORWARD", "", "KUBE-FORWARD", "kubernetes forwarding rules"),
    ("INPUT", NEW, "KUBE-PROXY-FIREWALL", FIREWALL),
    ("OUTPUT", NEW, "KUBE-PROXY-FIREWALL", FIREWALL),
    ("FORWARD", NEW, "KUBE-PROXY-FIREWALL", FIREWALL),
];

const NAT_JUMPS: &[(&str, &str, &str, &str)] = &[
    ("OUTPUT", "", "KUBE-SERVICES", PORTALS),
    ("PREROUTING", "", "KUBE-SERVICES", PORTALS),
    ("POSTROUTING", "", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
];

const FILTER_CHAINS: &[&str] = &[
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-FORWARD",
    "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL",
    "KUBE-FIREWALL",
];

const NAT_CHAINS: &[&str] =
    &["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"];

/// The input of one restore: of each table the chains, which are flushed by being named, and the rules.
#[derive(Default)]
struct Restore {
    filter_chains: Lines,
    filter_rules: Lines,
    nat_chains: Lines,
    nat_rules: Lines,
}

/// The chains of a service.
struct Chains {
    service: String,
    /// If there is a node port.
    external: Option<String>,
    endpoints: Vec<String>,
}

/// Everything, with the jumps from the kernel's chains; those kube-proxy makes before, by a command each.
pub(super) fn load(view: &View<'_>, loading: Loading) -> Vec<Command> {
    let mut restore = Restore::default();
    restore.top_chains(view.family);
    jumps(&mut restore.filter_rules, FILTER_JUMPS);
    if view.family == Family::V4 {
        for chain in ["INPUT", "OUTPUT"] {
            restore.filter_rules.add(format_args!("-I {chain} -j KUBE-FIREWALL"));
        }
    }
    jumps(&mut restore.nat_rules, NAT_JUMPS);
    restore.top_rules(view.family);
    let comments = has_comments(view);
    for service in &view.services {
        restore.listed(service);
        restore.service(view, service, comments);
    }
    restore.last_rules(view.family);
    let (mut words, text) = restore.command(view.family);
    if loading == Loading::Soon {
        // There is nothing that could be flushed.
        words.retain(|word| *word != "--noflush");
    }
    vec![(words, text)]
}

/// A partial sync: all lists, and of the services' chains those that are different.
pub(super) fn change(before: &View<'_>, after: &View<'_>) -> Command {
    let mut restore = Restore::default();
    restore.top_chains(after.family);
    restore.top_rules(after.family);
    let comments = has_comments(after);
    for (before, now) in before.services.iter().zip(&after.services) {
        restore.listed(now);
        if before != now {
            restore.service(after, now, comments);
        }
    }
    if comments {
        for (before, now) in before.different(after) {
            restore.remove_stale(before, now);
        }
    }
    restore.last_rules(after.family);
    restore.command(after.family)
}

fn has_comments(view: &View<'_>) -> bool {
    view.services.iter().map(|service| service.endpoints.len()).sum::<usize>() <= LARGE
}

fn jumps(rules: &mut Lines, jumps: &[(&str, &str, &str, &str)]) {
    for (from, condition, to, comment) in jumps {
        rules.add(format_args!("-I {from} {condition}-m comment --comment \"{comment}\" -j {to}"));
    }
}

impl Restore {
    fn command(self, family: Family) -> Command {
        let program = match family {
            Family::V4 => "iptables-restore",
            Family::V6 => "ip6tables-restore",
        };
        let mut text = Lines::default();
        for (table, chains, rules) in [
            ("*filter", &self.filter_chains, &self.filter_rules),
            ("*nat", &self.nat_chains, &self.nat_rules),
        ] {
            text.add(format_args!("{table}"));
            text.append(chains);
            text.append(rules);
            text.add(format_args!("COMMIT"));
        }
        (vec![program, "--noflush"], text.text())
    }

    fn top_chains(&mut self, family: Family) {
        // What it protects, node ports at 127.0.0.1, IPv6 doesn't have.
        let firewall = family == Family::V4;
        for chain in FILTER_CHAINS.iter().filter(|chain| firewall || **chain != "KUBE-FIREWALL") {
            self.filter_chains.add(format_args!(":{chain} - [0:0]"));
        }
        for chain in NAT_CHAINS {
            self.nat_chains.add(format_args!(":{chain} - [0:0]"));
        }
    }

    fn nat_chain(&mut self, chain: &str) {
        self.nat_chains.add(format_args!(":{chain} - [0:0]"));
    }

    fn top_rules(&mut self, family: Family) {
        postrouting(&mut self.nat_rules);
        self.nat_rules.add(format_args!("-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}"));
        if family == Family::V4 {
            self.filter_rules.add(format_args!(
                "-A KUBE-FIREWALL -m comment --comment \"block incoming localnet connections\" -d 127.0.0.0/8 \
                 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
            ));
        }
    }

    /// What comes behind all services.
    fn last_rules(&mut self, family: Family) {
        let but = match family {
            Family::V4 => "",
            Family::V6 => "! -d ::1/128 ",
        };
        self.nat_rules.add(format_args!(
            "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule \
             in this chain\" -m addrtype --dst-type LOCAL {but}-j KUBE-NODEPORTS"
        ));
        self.filter_rules
            .add(format_args!("-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"));
        forward(&mut self.filter_rules);
    }

    /// The service in the lists.
    fn listed(&mut self, service: &Service) {
        let Service { address, port, node_port, endpoints, .. } = service;
        let (name, protocol) = (name(service), word(service.protocol));
        let to = |port| format!("-m {protocol} -p {protocol}{port}");
        let ip = to(format!(" -d {address} --dport {port}"));
        let node_port = node_port.map(|port| to(format!(" --dport {port}")));
        if endpoints.is_empty() {
            let comment = format!("-m comment --comment \"{name} has no endpoints\"");
            self.filter_rules.add(format_args!("-A KUBE-SERVICES {comment} {ip} -j REJECT"));
            if let Some(to) = node_port {
                self.filter_rules.add(format_args!(
                    "-A KUBE-EXTERNAL-SERVICES {comment} -m addrtype --dst-type LOCAL {to} -j REJECT"
                ));
            }
            return;
        }
        let hash = hash(&(&name, protocol));
        self.nat_rules.add(format_args!(
            "-A KUBE-SERVICES -m comment --comment \"{name} cluster IP\" {ip} -j KUBE-SVC-{hash}"
        ));
        if let Some(to) = node_port {
            self.nat_rules.add(format_args!(
                "-A KUBE-NODEPORTS -m comment --comment {name} {to} -j KUBE-EXT-{hash}"
            ));
        }
    }

    /// The chains of a service and its endpoints, if it has any.
    fn service(&mut self, view: &View<'_>, service: &Service, comments: bool) {
        if service.endpoints.is_empty() {
            return;
        }
        let Service { address, port, .. } = service;
        let (name, protocol, chains) =
            (name(service), word(service.protocol), Chains::new(service));
        for chain in chains.all() {
            self.nat_chain(chain);
        }
        if let Some(pods) = &view.pods {
            self.nat_rules.add(format_args!(
                "-A {} -m comment --comment \"{name} cluster IP\" -m {protocol} -p {protocol} -d {address} \
                 --dport {port} ! -s {pods} -j KUBE-MARK-MASQ",
                chains.service
            ));
        }
        if let Some(external) = &chains.external {
            self.nat_rules.add(format_args!(
                "-A {external} -m comment --comment \"masquerade traffic for {name} external destinations\" \
                 -j KUBE-MARK-MASQ"
            ));
            self.nat_rules.add(format_args!("-A {external} -j {}", chains.service));
        }
        self.choice(service, &chains, comments);
        for (endpoint, chain) in service.endpoints.iter().zip(&chains.endpoints) {
            let comment = comment(comments, format_args!("{name}"));
            let pod = endpoint.ip();
            self.nat_rules.add(format_args!("-A {chain}{comment} -s {pod} -j KUBE-MARK-MASQ"));
            self.nat_rules.add(format_args!(
                "-A {chain}{comment} -m {protocol} -p {protocol} -j DNAT --to-destination {endpoint}"
            ));
        }
    }

    /// Who is tried with which probability; the last one takes what is left.
    fn choice(&mut self, service: &Service, chains: &Chains, comments: bool) {
        let (name, count) = (name(service), chains.endpoints.len());
        for (index, (endpoint, to)) in service.endpoints.iter().zip(&chains.endpoints).enumerate() {
            let comment = comment(comments, format_args!("\"{name} -> {endpoint}\""));
            let die = match u32::try_from(count - index) {
                Ok(1) | Err(_) => String::new(),
                Ok(left) => {
                    format!(
                        " -m statistic --mode random --probability {:.10}",
                        1.0 / f64::from(left)
                    )
                }
            };
            self.nat_rules.add(format_args!("-A {}{comment}{die} -j {to}", chains.service));
        }
    }

    fn remove_stale(&mut self, before: &Service, now: &Service) {
        let (before, now) = (Chains::new(before), Chains::new(now));
        let now = now.all();
        for chain in before.all().into_iter().filter(|chain| !now.contains(chain)) {
            self.nat_chain(chain);
            self.nat_rules.add(format_args!("-X {chain}"));
        }
    }
}

/// What masquerades packets that carry the mark, and takes it off them.
pub(super) fn postrouting(rules: &mut Lines) {
    rules.add(format_args!("-A KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN"));
    rules.add(format_args!("-A KUBE-POSTROUTING -j MARK --xor-mark {MARK}"));
    rules.add(format_args!(
        "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE \
         --random-fully"
    ));
}

/// What lets such packets through, and those that come after them.
pub(super) fn forward(rules: &mut Lines) {
    rules.add(format_args!(
        "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark {MARK}/{MARK} -j ACCEPT"
    ));
    rules.add(format_args!(
        "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack \
         --ctstate RELATED,ESTABLISHED -j ACCEPT"
    ));
}

impl Chains {
    /// Those that a service has. One without endpoints has none.
    fn new(service: &Service) -> Self {
        let (name, protocol) = (name(service), word(service.protocol));
        let hash_of_service = hash(&(&name, protocol));
        let endpoint =
            |endpoint: &SocketAddr| format!("KUBE-SEP-{}", hash(&(&name, protocol, endpoint)));
        Self {
            service: format!("KUBE-SVC-{hash_of_service}"),
            external: service.node_port.map(|_| format!("KUBE-EXT-{hash_of_service}")),
            endpoints: service.endpoints.iter().map(endpoint).collect(),
        }
    }

    /// In the order in which they are made.
    fn all(&self) -> Vec<&str> {
        if self.endpoints.is_empty() {
            return Vec::new();
        }
        let endpoints = self.endpoints.iter().map(String::as_str);
        self.external
            .as_deref()
            .into_iter()
            .chain([self.service.as_str()])
            .chain(endpoints)
            .collect()
    }
}

/// The service's name in comments.
fn name(service: &Service) -> String {
    format!("default/{}:{}", service.name, port_name(service))
}

/// What a chain's name ends in; 16 characters, so that it is as long as chains' names may be.
fn hash(name: &impl std::hash::Hash) -> String {
    format!("{:016X}", digest(name))
}

fn comment(comments: bool, text: std::fmt::Arguments<'_>) -> String {
    if comments { format!(" -m comment --comment {text}") } else { String::new() }
}
