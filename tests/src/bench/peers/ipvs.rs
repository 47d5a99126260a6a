//! kube-proxy's mode `ipvs`: `pkg/proxy/ipvs` of Kubernetes.
//!
//! The kernel's balancer has a virtual server for each cluster IP, and for each node port at each address of the node; it
//! works in the node's input path, so the cluster IPs are addresses of the node, of an interface `kube-ipvs0` that is down.
//! Forwarding is by masquerading, in turns. Who has to be masqueraded besides is found by a few rules that look into sets
//! of addresses and ports.
//!
//! Left out are sets that no rule of these services looks into, and pods that reach themselves (`KUBE-LOOP-BACK`): no
//! endpoint counts as this node's. Sets of cluster IPs are larger than kube-proxy's 65,536 where there are more services
//! than fit.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    Command, Loading, Protocol, Service,
    iptables::{forward, postrouting},
    lines::Lines,
    view::{MARK, View, word},
};
use crate::lab::cast::Family;

/// The interface that has the cluster IPs.
const INTERFACE: &str = "kube-ipvs0";

/// What kube-proxy gives sets as their largest size.
const SET_SIZE: usize = 65_536;

/// From which of the kernel's chains to which of ours, with which comment. Each is put before those that are there.
const FILTER_JUMPS: &[(&str, &str, &str)] = &[
    ("FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    ("INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    ("INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    ("FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    ("INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
    ("OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
];

const NAT_JUMPS: &[(&str, &str, &str)] = &[
    ("OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    ("PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    ("POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
];

const FILTER_CHAINS: &[&str] = &[
    "KUBE-FORWARD",
    "KUBE-NODE-PORT",
    "KUBE-PROXY-FIREWALL",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];

const NAT_CHAINS: &[&str] = &[
    "KUBE-SERVICES",
    "KUBE-POSTROUTING",
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-MARK-MASQ",
];

/// What comes before anything else, once for both families.
pub(super) fn prepare() -> Vec<Command> {
    let settings = vec![
        "sysctl",
        "-w",
        "net.ipv4.vs.conntrack=1",
        "net.ipv4.vs.expire_nodest_conn=1",
        "net.ipv4.vs.expire_quiescent_template=1",
    ];
    let interface = vec!["ip", "link", "add", INTERFACE, "type", "dummy"];
    vec![(settings, String::new()), (interface, String::new())]
}

/// Everything of a family: addresses, sets, virtual servers, and rules.
pub(super) fn load(view: &View<'_>, _: Loading) -> Vec<Command> {
    let restore = match view.family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    };
    let mut servers = Lines::default();
    for service in &view.services {
        for server in servers_of(view, service) {
            servers.add(format_args!("-A {server} -s rr"));
            for endpoint in &service.endpoints {
                servers.add(format_args!("-a {server} -r {endpoint} -m -w 1"));
            }
        }
    }
    vec![
        (vec!["ip", "-batch", "-"], addresses(view)),
        (vec!["ipset", "restore"], sets(view)),
        (vec!["ipvsadm", "-R"], servers.text()),
        (vec![restore, "--noflush"], rules(view)),
    ]
}

/// The endpoints that are different. One that goes is removed at once, as kube-proxy does when no connection hangs on it.
/// Besides that kube-proxy asks for all virtual servers and their endpoints, and lists the sets, each time.
pub(super) fn change(before: &View<'_>, after: &View<'_>) -> Command {
    let mut servers = Lines::default();
    for (before, now) in before.different(after) {
        for server in servers_of(after, now) {
            for endpoint in now.endpoints.iter().filter(|one| !before.endpoints.contains(one)) {
                servers.add(format_args!("-a {server} -r {endpoint} -m -w 1"));
            }
            for endpoint in before.endpoints.iter().filter(|one| !now.endpoints.contains(one)) {
                servers.add(format_args!("-d {server} -r {endpoint}"));
            }
        }
    }
    (vec!["ipvsadm", "-R"], servers.text())
}

/// A service's virtual servers, as `ipvsadm` takes them.
fn servers_of(view: &View<'_>, service: &Service) -> Vec<String> {
    let option = match service.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
    };
    let server = |address, port| format!("{option} {}", SocketAddr::new(address, port));
    let node_ports = service
        .node_port
        .into_iter()
        .flat_map(|port| view.node_addresses.iter().map(move |address| server(*address, port)));
    [server(service.address, service.port)].into_iter().chain(node_ports).collect()
}

/// The cluster IPs, each once.
fn cluster_ips(view: &View<'_>) -> BTreeSet<IpAddr> {
    view.services.iter().map(|service| service.address).collect()
}

/// Lines for `ip`.
fn addresses(view: &View<'_>) -> String {
    let length = match view.family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let mut lines = Lines::default();
    for address in cluster_ips(view) {
        lines.add(format_args!("address add {address}/{length} dev {INTERFACE}"));
    }
    lines.text()
}

/// The name of a set in this family: there can't be two of a name.
fn set(view: &View<'_>, name: &str) -> String {
    match view.family {
        Family::V4 => format!("KUBE-{name}"),
        Family::V6 => format!("KUBE-6-{name}"),
    }
}

fn node_port_set(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "NODE-PORT-TCP",
        Protocol::Udp => "NODE-PORT-UDP",
    }
}

fn sets(view: &View<'_>) -> String {
    let family = match view.family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    };
    let size = view.services.len().max(SET_SIZE);
    let mut lines = Lines::default();
    for (name, kind) in [
        ("CLUSTER-IP", "hash:ip,port"),
        ("EXTERNAL-IP", "hash:ip,port"),
        ("EXTERNAL-IP-LOCAL", "hash:ip,port"),
        ("LOAD-BALANCER", "hash:ip,port"),
        ("IPVS-IPS", "hash:ip"),
    ] {
        let name = set(view, name);
        lines
            .add(format_args!("create {name} {kind} family {family} hashsize 1024 maxelem {size}"));
    }
    for name in ["NODE-PORT-TCP", "NODE-PORT-UDP", "HEALTH-CHECK-NODE-PORT"] {
        lines.add(format_args!("create {} bitmap:port range 0-65535", set(view, name)));
    }
    for service in &view.services {
        let Service { address, port, node_port, .. } = service;
        let (name, protocol) = (set(view, "CLUSTER-IP"), word(service.protocol));
        lines.add(format_args!("add {name} {address},{protocol}:{port}"));
        if let Some(port) = node_port {
            lines.add(format_args!("add {} {port}", set(view, node_port_set(service.protocol))));
        }
    }
    for address in cluster_ips(view) {
        lines.add(format_args!("add {} {address}", set(view, "IPVS-IPS")));
    }
    lines.text()
}

fn rules(view: &View<'_>) -> String {
    let mut lines = Lines::default();
    start(&mut lines, "filter", FILTER_CHAINS, FILTER_JUMPS);
    filter(view, &mut lines);
    lines.add(format_args!("COMMIT"));
    start(&mut lines, "nat", NAT_CHAINS, NAT_JUMPS);
    nat(view, &mut lines);
    lines.add(format_args!("COMMIT"));
    lines.text()
}

fn start(lines: &mut Lines, table: &str, chains: &[&str], jumps: &[(&str, &str, &str)]) {
    lines.add(format_args!("*{table}"));
    for chain in chains {
        lines.add(format_args!(":{chain} - [0:0]"));
    }
    for (from, to, comment) in jumps {
        lines.add(format_args!("-I {from} -m comment --comment \"{comment}\" -j {to}"));
    }
}

fn filter(view: &View<'_>, lines: &mut Lines) {
    let look = |name| format!("-m set --match-set {}", set(view, name));
    lines.add(format_args!("-A KUBE-SOURCE-RANGES-FIREWALL -j DROP"));
    forward(lines);
    lines.add(format_args!(
        "-A KUBE-NODE-PORT -m comment --comment \"Kubernetes health check node port\" {} dst -j ACCEPT",
        look("HEALTH-CHECK-NODE-PORT")
    ));
    // Other ports of these addresses are not the node's.
    for (name, direction) in [
        ("LOAD-BALANCER", "dst,dst"),
        ("CLUSTER-IP", "dst,dst"),
        ("EXTERNAL-IP", "dst,dst"),
        ("EXTERNAL-IP-LOCAL", "dst,dst"),
        ("HEALTH-CHECK-NODE-PORT", "dst"),
    ] {
        lines.add(format_args!("-A KUBE-IPVS-FILTER {} {direction} -j RETURN", look(name)));
    }
    lines.add(format_args!(
        "-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW {} dst -j REJECT",
        look("IPVS-IPS")
    ));
}

fn nat(view: &View<'_>, lines: &mut Lines) {
    let look = |name| format!("-m set --match-set {}", set(view, name));
    let loopback = match view.family {
        Family::V4 => "127.0.0.0/8",
        Family::V6 => "::1/128",
    };
    lines.add(format_args!("-A KUBE-SERVICES -s {loopback} -j RETURN"));
    for protocol in Protocol::BOTH {
        let with_node_port =
            |service: &&Service| service.protocol == protocol && service.node_port.is_some();
        if view.services.iter().any(with_node_port) {
            let upper = word(protocol).to_uppercase();
            let comment = format!("Kubernetes nodeport {upper} port for masquerade purpose");
            lines.add(format_args!(
                "-A KUBE-NODE-PORT -p {} -m comment --comment \"{comment}\" {} dst -j KUBE-MARK-MASQ",
                word(protocol),
                look(node_port_set(protocol)),
            ));
        }
    }
    // Without the pods' network only the node itself is known not to be a pod: it takes the cluster IP for its own address.
    let (direction, but) = match &view.pods {
        Some(pods) => ("dst,dst", format!("! -s {pods} ")),
        None => ("src,dst", String::new()),
    };
    lines.add(format_args!(
        "-A KUBE-SERVICES -m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" {} \
         {direction} {but}-j KUBE-MARK-MASQ",
        look("CLUSTER-IP")
    ));
    lines.add(format_args!("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT"));
    lines.add(format_args!("-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ"));
    lines.add(format_args!("-A KUBE-SERVICES {} dst,dst -j ACCEPT", look("CLUSTER-IP")));
    postrouting(lines);
    lines.add(format_args!("-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}"));
}
