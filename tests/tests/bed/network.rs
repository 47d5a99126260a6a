//! The world's namespaces, interfaces, routes and neighbours.

use anyhow::Result;
use lb_tests::lab::{
    End, Lab, Veth,
    cast::{self, Family, Host, Mac, NODE1, NODE2, OUTSIDE},
};

use super::{
    Backend,
    world::{MTU, UPLINKS, uplink_mac},
};

/// Where the far ends of all cables are.
const FAR: &str = "far";

/// Makes the namespaces, interfaces, routes and neighbours.
pub fn wire(lab: &mut Lab, node: &str) -> Result<()> {
    lab.add(&[node, FAR])?;
    lab.namespace(FAR)?.sysctl(&[
        // Nobody there answers or says anything.
        ("net/ipv6/conf/all/disable_ipv6", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
    ])?;
    lab.namespace(node)?.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/default/forwarding", "1"),
    ])?;
    let cable = |interface: String, mac: Mac| Veth {
        b: End::anonymous(FAR, interface.clone()),
        a: End::new(node, interface, mac),
        mtu: MTU,
    };
    let uplinks = (0..UPLINKS).map(|number| cable(format!("eth{number}"), uplink_mac(number)));
    let pods = (1..=2).map(|pod| cable(cast::host_side(1, pod), cast::gateway_mac(1, pod)));
    let cables: Vec<Veth> = uplinks.chain(pods).collect();
    lab.connect(&cables)?;
    for end in cables.iter().flat_map(|cable| [&cable.a, &cable.b]) {
        lab.namespace(&end.namespace)?.ip(&format!("link set {} up\n", end.interface))?;
    }
    lab.namespace(node)?.ip(&script())?;
    lab.wait_until_running()?;
    Ok(())
}

/// The node's addresses, routes and neighbours. All routes are to single hosts: whoever is not of the
/// cast is nowhere, which is what the host's pipeline is told too.
fn script() -> String {
    let mut lines = Vec::new();
    for family in Family::BOTH {
        let length = match family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        let route = |host: Host, way: &str| format!("route add {}/{length} {way}", host.ip(family));
        let neighbour = |host: Host, interface: &str| {
            let (ip, mac) = (host.ip(family), host.mac);
            format!("neigh replace {ip} lladdr {mac} dev {interface} nud permanent")
        };
        let nodad = if family == Family::V6 { " nodad" } else { "" };
        lines.push(format!("address add {}/{length} dev eth0{nodad}", NODE1.ip(family)));
        lines.extend([OUTSIDE, NODE2, cast::node(3)].map(|host| route(host, "dev eth0")));
        lines.extend([OUTSIDE, NODE2].map(|host| neighbour(host, "eth0")));
        for node in [2, 3] {
            let gateway = cast::node(node).ip(family);
            lines.push(route(cast::pod(node, 1), &format!("via {gateway}")));
        }
        let unreachable = Backend::Unreachable.hosts()[0].ip(family);
        lines.push(format!("route add unreachable {unreachable}/{length}"));
        let there = Backend::ALL.into_iter().filter_map(Backend::uplink);
        let there = there.map(|(uplink, host)| (host, format!("eth{uplink}")));
        let pods = (1..=2).map(|pod| (cast::pod(1, pod), cast::host_side(1, pod)));
        for (host, interface) in there.chain(pods) {
            lines.push(route(host, &format!("dev {interface}")));
            lines.push(neighbour(host, &interface));
        }
    }
    lines.join("\n") + "\n"
}
