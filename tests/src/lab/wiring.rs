//! The standard cluster as data: who is connected to whom, and what each namespace runs to configure
//! itself. Pure functions from a [`Plan`] to text; [`super::cluster`] carries it out.
//!
//! ```text
//!  outside          node1                      node2
//!   eth0             eth0    veth-pod1-1 …      eth0    veth-pod2-1 …
//!     │                │          │               │          │
//!     └──── fabric ────┼──────────┼───────────────┘          │
//!           (br0)      │          │                          │
//!                             eth0 of pod1-1            eth0 of pod2-1
//! ```

use std::fmt::Write as _;

use super::cast::{self, GATEWAY_V4, GATEWAY_V6, Host, OUTSIDE, UPLINK_PREFIX};
use super::link::{End, Veth};

/// The namespace that is nothing but the link between `outside` and the nodes.
pub(super) const FABRIC: &str = "fabric";

/// How strictly nodes check that a packet's source is reachable through where it came in (RFC 3704).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpFilter {
    /// No check.
    Off,
    /// Reachable through the very interface it came in on.
    Strict,
    /// Reachable at all.
    Loose,
}

impl RpFilter {
    fn value(self) -> &'static str {
        match self {
            Self::Off => "0",
            Self::Strict => "1",
            Self::Loose => "2",
        }
    }
}

/// How pods are connected, to their node and across nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodNetwork {
    /// Each pod has a cable of its own and a route; nodes route to each other's pods (Calico, kindnet).
    Routed,
    /// The pods of a node are ports of its bridge `cni0`; nodes route (flannel host-gw, plain bridge).
    Bridged,
    /// As routed, but from node to node through VXLAN, device `flannel.1` (flannel).
    Vxlan,
}

impl PodNetwork {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Routed, Self::Bridged, Self::Vxlan];
}

/// The bridge of a node's pods.
pub(super) const BRIDGE: &str = "cni0";

/// The overlay's device.
pub const OVERLAY: &str = "flannel.1";

/// How much shorter packets are through the overlay.
const OVERHEAD: u16 = 50;

/// What a cluster is to look like.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: u8,
    pub(super) pods: u8,
    pub(super) mtu: u16,
    pub(super) rp_filter: RpFilter,
    pub(super) checksum_offload: bool,
    pub(super) network: PodNetwork,
    pub(super) netfilter: bool,
}

impl Plan {
    /// Node number and pod number of every pod.
    fn all_pods(&self) -> impl Iterator<Item = (u8, u8)> {
        let pods = self.pods;
        (1..=self.nodes).flat_map(move |node| (1..=pods).map(move |pod| (node, pod)))
    }

    /// Every host: outside, the nodes, the pods.
    fn hosts(&self) -> impl Iterator<Item = Host> {
        let nodes = (1..=self.nodes).map(cast::node);
        let pods = self.all_pods().map(|(node, pod)| cast::pod(node, pod));
        std::iter::once(OUTSIDE).chain(nodes).chain(pods)
    }

    /// The names of all namespaces.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let hosts = self.hosts().map(|host| host.name.to_string());
        std::iter::once(FABRIC.to_owned()).chain(hosts).collect()
    }

    /// Every cable.
    pub(super) fn veths(&self) -> Vec<Veth> {
        let veth = |a, b| Veth { a, b, mtu: self.mtu };
        let shorter = if self.network == PodNetwork::Vxlan { OVERHEAD } else { 0 };
        let uplink = |host: Host| {
            let port = End::anonymous(FABRIC, format!("to-{}", host.name));
            veth(End::new(host.name, "eth0", host.mac), port)
        };
        let uplinks = std::iter::once(OUTSIDE).chain((1..=self.nodes).map(cast::node)).map(uplink);
        let pods = self.all_pods().map(|(node, number)| {
            let pod = cast::pod(node, number);
            let host_side = cast::host_side(node, number);
            Veth {
                a: End::new(cast::node(node).name, host_side, cast::gateway_mac(node, number)),
                b: End::new(pod.name, "eth0", pod.mac),
                mtu: self.mtu - shorter,
            }
        });
        uplinks.chain(pods).collect()
    }

    /// What makes a namespace a router. Set before it has interfaces, so that they inherit it.
    pub(super) fn node_settings(&self) -> Vec<(&'static str, &'static str)> {
        let rp_filter = self.rp_filter.value();
        vec![
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/default/forwarding", "1"),
            // The kernel takes the larger of `all` and the interface's own.
            ("net/ipv4/conf/all/rp_filter", rp_filter),
            ("net/ipv4/conf/default/rp_filter", rp_filter),
        ]
    }

    /// The fabric: a bridge and its ports, with no address of any kind.
    pub(super) fn fabric_script(&self) -> String {
        let mut script =
            String::from("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n");
        for end in self.veths().into_iter().map(|veth| veth.b).filter(|b| b.namespace == FABRIC) {
            line(&mut script, format_args!("link set {} master br0 up", end.interface));
        }
        script
    }

    /// A node: its uplink, a route to each of its pods, and one to the pods of every other node. It has
    /// no default route, so that what nobody translates fails at once, and loudly.
    pub(super) fn node_script(&self, node: u8) -> String {
        let mut script = uplink_script(cast::node(node));
        if self.network == PodNetwork::Bridged {
            self.bridge(&mut script, node);
        } else {
            self.cables(&mut script, node);
        }
        if self.network == PodNetwork::Vxlan {
            overlay(&mut script, node, self.mtu - OVERHEAD);
        }
        for other in (1..=self.nodes).filter(|other| *other != node) {
            let gateway = cast::node(other);
            let ((v4, v4_length), (v6, v6_length)) = cast::pod_networks(other);
            if self.network == PodNetwork::Vxlan {
                let mac = cast::overlay_mac(other);
                for (end, length) in [(v4.to_string(), v4_length), (v6.to_string(), v6_length)] {
                    line(
                        &mut script,
                        format_args!("neigh add {end} lladdr {mac} dev {OVERLAY} nud permanent"),
                    );
                    line(
                        &mut script,
                        format_args!("route add {end}/{length} via {end} dev {OVERLAY} onlink"),
                    );
                }
                continue;
            }
            line(&mut script, format_args!("route add {v4}/{v4_length} via {}", gateway.v4));
            line(&mut script, format_args!("route add {v6}/{v6_length} via {}", gateway.v6));
        }
        script
    }

    /// Where the overlay finds each other node's end: arguments of `bridge`.
    pub(super) fn overlay_ends(&self, node: u8) -> Vec<Vec<String>> {
        if self.network != PodNetwork::Vxlan {
            return Vec::new();
        }
        (1..=self.nodes)
            .filter(|other| *other != node)
            .map(|other| {
                let (mac, ip) = (cast::overlay_mac(other), cast::node(other).v4);
                let line = format!("fdb append {mac} dev {OVERLAY} dst {ip}");
                line.split(' ').map(str::to_owned).collect()
            })
            .collect()
    }

    /// A bridge with the node's pods as ports, which is their gateway.
    fn bridge(&self, script: &mut String, node: u8) {
        line(script, format_args!("link add {BRIDGE} type bridge mcast_snooping 0"));
        line(script, format_args!("link set {BRIDGE} up"));
        let gateway = cast::bridge_gateway(node);
        line(script, format_args!("address add {}/24 dev {BRIDGE}", gateway.0));
        line(script, format_args!("address add {}/64 dev {BRIDGE} nodad", gateway.1));
        for number in 1..=self.pods {
            let veth = cast::host_side(node, number);
            line(script, format_args!("link set {veth} master {BRIDGE} up"));
        }
    }

    /// A cable to each pod, with a route.
    fn cables(&self, script: &mut String, node: u8) {
        for number in 1..=self.pods {
            let pod = cast::pod(node, number);
            let veth = cast::host_side(node, number);
            line(script, format_args!("link set {veth} up"));
            line(script, format_args!("address add {GATEWAY_V6}/64 dev {veth} nodad"));
            line(script, format_args!("route add {}/32 dev {veth}", pod.v4));
            line(script, format_args!("route add {}/128 dev {veth}", pod.v6));
        }
    }

    /// What nodes commonly have beside a service proxy: masquerading of what pods send elsewhere, and
    /// no mercy for packets that connection tracking doesn't know. Both turn it on.
    pub(super) fn netfilter_script(&self) -> Option<String> {
        self.netfilter.then(|| {
            [("ip", "10.244.0.0/16"), ("ip6", "fd00:244::/32")]
                .map(|(family, pods)| {
                    format!(
                        "table {family} cni {{\n\
                         chain forward {{ type filter hook forward priority 0; ct state invalid counter drop; }}\n\
                         chain postrouting {{ type nat hook postrouting priority 100; \
                         {family} saddr {pods} {family} daddr != {pods} masquerade; }}\n}}\n"
                    )
                })
                .concat()
        })
    }

    /// A pod.
    pub(super) fn pod_script(&self, node: u8, number: u8) -> String {
        if self.network != PodNetwork::Bridged {
            return pod_script(node, number);
        }
        let (pod, gateway) = (cast::pod(node, number), cast::bridge_gateway(node));
        let mut script = String::from("link set eth0 up\n");
        line(&mut script, format_args!("address add {}/24 dev eth0", pod.v4));
        line(&mut script, format_args!("address add {}/64 dev eth0 nodad", pod.v6));
        line(&mut script, format_args!("route add default via {}", gateway.0));
        line(&mut script, format_args!("route add default via {}", gateway.1));
        script
    }
}

/// A node's end of the overlay.
fn overlay(script: &mut String, node: u8, mtu: u16) {
    let (local, mac) = (cast::node(node).v4, cast::overlay_mac(node));
    let ((v4, _), (v6, _)) = cast::pod_networks(node);
    line(
        script,
        format_args!(
            "link add {OVERLAY} address {mac} mtu {mtu} type vxlan id 1 dstport 8472 local {local} dev eth0 nolearning"
        ),
    );
    line(script, format_args!("link set {OVERLAY} up"));
    line(script, format_args!("address add {v4}/32 dev {OVERLAY}"));
    line(script, format_args!("address add {v6}/128 dev {OVERLAY} nodad"));
}

/// A host on the fabric: addresses, and no route but to its own link.
pub(super) fn uplink_script(host: Host) -> String {
    let (v4_length, v6_length) = UPLINK_PREFIX;
    let mut script = String::from("link set eth0 up\n");
    line(&mut script, format_args!("address add {}/{v4_length} dev eth0", host.v4));
    line(&mut script, format_args!("address add {}/{v6_length} dev eth0 nodad", host.v6));
    script
}

/// A pod: one address of each family, everything through a gateway whose link-layer address is known
/// from the start, because no interface has 169.254.1.1 and so nobody would answer for it.
fn pod_script(node: u8, number: u8) -> String {
    let pod = cast::pod(node, number);
    let mac = cast::gateway_mac(node, number);
    let mut script = String::from("link set eth0 up\n");
    line(&mut script, format_args!("address add {}/32 dev eth0", pod.v4));
    line(&mut script, format_args!("address add {}/128 dev eth0 nodad", pod.v6));
    line(&mut script, format_args!("route add {GATEWAY_V4} dev eth0 scope link"));
    for gateway in [GATEWAY_V4.to_string(), GATEWAY_V6.to_string()] {
        line(&mut script, format_args!("neigh add {gateway} lladdr {mac} dev eth0 nud permanent"));
        line(&mut script, format_args!("route add default via {gateway} dev eth0"));
    }
    script
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = writeln!(script, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let rp_filter = RpFilter::Strict;
        let network = PodNetwork::Routed;
        Plan {
            nodes: 2,
            pods: 1,
            mtu: 1500,
            rp_filter,
            checksum_offload: true,
            network,
            netfilter: false,
        }
    }

    #[test]
    fn every_host_of_the_plan_has_one_cable_at_its_eth0() {
        let veths = plan().veths();
        for name in plan().namespaces().iter().filter(|name| *name != FABRIC) {
            let ends = veths.iter().flat_map(|veth| [&veth.a, &veth.b]);
            let count = ends.filter(|e| e.namespace == *name && e.interface == "eth0").count();
            assert_eq!(count, 1, "{name}");
        }
    }

    #[test]
    fn a_node_routes_to_its_own_pods_and_to_the_networks_of_the_others() {
        let script = plan().node_script(1);
        assert!(script.contains("route add 10.244.1.1/32 dev veth-pod1-1\n"), "{script}");
        assert!(script.contains("route add 10.244.2.0/24 via 192.0.2.2\n"), "{script}");
        assert!(script.contains("route add fd00:244:2::/64 via 2001:db8:1::2\n"), "{script}");
        assert!(!script.contains("via 192.0.2.1\n"), "{script}");
    }
}
