//! Client, node and sink, each a namespace, in one line. All clients are behind the client's interface, all
//! endpoints behind the sink's, and every neighbour is known: nobody asks for anybody.
//!
//! ```text
//! client eth0 ─── eth0 node eth1 ─── eth0 sink
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use lb_tests::{
    bench::peers::{Protocol, Service, Setup},
    lab::{
        End, Lab, Namespace, Veth,
        cast::{Family, Mac, NODE1, OUTSIDE},
    },
};

/// Where endpoints listen.
pub const ENDPOINT_PORT: u16 = 8080;
/// The port of cluster IPs.
const SERVICE_PORT: u16 = 80;
/// The node port of the first service; it has the only one.
const NODE_PORT: u16 = 30_080;

const NODE_EAST: Mac = Mac([0x02, 0, 0, 0, 7, 1]);
const SINK: Mac = Mac([0x02, 0, 0, 0, 7, 2]);

/// Clients: 65,536 addresses from here on.
const CLIENTS_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const CLIENTS_V6: Ipv6Addr = Ipv6Addr::new(0xfd18, 0, 0, 0, 0, 0, 0, 0);
/// Endpoints: from here on; the network is the pods'.
const ENDPOINTS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const ENDPOINTS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 0);
/// Cluster IPs: from here on.
const SERVICES_V4: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);
const SERVICES_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0);
/// The node towards the sink, and the sink.
const EAST_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];
const EAST_V6: [Ipv6Addr; 2] = [
    // Their last words are no client's.
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xffff, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xffff, 2),
];

/// The three namespaces.
pub struct Network {
    lab: Lab,
}

impl Network {
    /// Fresh ones.
    pub fn new() -> Result<Self> {
        let mut lab = Lab::start()?;
        lab.add(&["client", "node", "sink"])?;
        lab.namespace("node")?.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/default/forwarding", "1"),
        ])?;
        let west = (End::new("client", "eth0", OUTSIDE.mac), End::new("node", "eth0", NODE1.mac));
        let east = (End::new("node", "eth1", NODE_EAST), End::new("sink", "eth0", SINK));
        let cable = |(a, b)| Veth { a, b, mtu: 1500 };
        lab.connect(&[cable(west), cable(east)])?;
        for (name, interface) in
            [("client", "eth0"), ("node", "eth0"), ("node", "eth1"), ("sink", "eth0")]
        {
            let namespace = lab.namespace(name)?;
            namespace.ip(&format!("link set {interface} up\n"))?;
            // A veth takes frames that a program sends only if its receiving side runs by NAPI.
            namespace.output("ethtool", &["-K", interface, "gro", "on"])?;
        }
        lab.namespace("node")?.ip(&node_script())?;
        lab.wait_until_running()?;
        Ok(Self { lab })
    }

    /// Where the clients are.
    pub fn client(&self) -> Result<&Namespace> {
        Ok(self.lab.namespace("client")?)
    }

    /// What is measured.
    pub fn node(&self) -> Result<&Namespace> {
        Ok(self.lab.namespace("node")?)
    }

    /// Where the endpoints are.
    pub fn sink(&self) -> Result<&Namespace> {
        Ok(self.lab.namespace("sink")?)
    }
}

fn node_script() -> String {
    let mut lines = Vec::new();
    for family in Family::BOTH {
        let (length, wide, nodad) = match family {
            Family::V4 => (24, [(CLIENTS_V4.into(), 15), (ENDPOINTS_V4.into(), 8)], ""),
            Family::V6 => (64, [(CLIENTS_V6.into(), 64), (ENDPOINTS_V6.into(), 64)], " nodad"),
        };
        let (node, sink) = east(family);
        let (clients, endpoints): ((IpAddr, u8), (IpAddr, u8)) = (wide[0], wide[1]);
        let outside = OUTSIDE.ip(family);
        lines.extend([
            format!("address add {}/{length} dev eth0{nodad}", NODE1.ip(family)),
            format!("address add {node}/{length} dev eth1{nodad}"),
            format!("neigh replace {outside} lladdr {} dev eth0 nud permanent", OUTSIDE.mac),
            format!("neigh replace {sink} lladdr {SINK} dev eth1 nud permanent"),
            format!("route add {}/{} via {outside} dev eth0", clients.0, clients.1),
            format!("route add {}/{} via {sink} dev eth1", endpoints.0, endpoints.1),
        ]);
    }
    lines.join("\n") + "\n"
}

/// The node's address towards the sink, which what is masqueraded has, and the sink's.
pub fn east(family: Family) -> (IpAddr, IpAddr) {
    match family {
        Family::V4 => (EAST_V4[0].into(), EAST_V4[1].into()),
        Family::V6 => (EAST_V6[0].into(), EAST_V6[1].into()),
    }
}

/// The first address of a block of clients.
pub fn client(family: Family, block: u32) -> IpAddr {
    after(first(family, CLIENTS_V4, CLIENTS_V6), block)
}

/// An endpoint.
pub fn endpoint(family: Family, number: u32) -> SocketAddr {
    SocketAddr::new(after(first(family, ENDPOINTS_V4, ENDPOINTS_V6), 256 + number), ENDPOINT_PORT)
}

/// A service's cluster IP and port.
pub fn service(family: Family, number: u32) -> SocketAddr {
    SocketAddr::new(after(first(family, SERVICES_V4, SERVICES_V6), 256 + number), SERVICE_PORT)
}

/// The node port of the first service.
pub fn node_port(family: Family) -> SocketAddr {
    SocketAddr::new(NODE1.ip(family), NODE_PORT)
}

fn first(family: Family, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        Family::V4 => v4.into(),
        Family::V6 => v6.into(),
    }
}

fn after(first: IpAddr, steps: u32) -> IpAddr {
    match first {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + steps).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(steps)).into()),
    }
}

/// `services` of a family with so many endpoints each.
pub fn setup(family: Family, services: u32, endpoints_each: u32) -> Result<Setup> {
    ensure!(services > 0 && endpoints_each > 0, "a setup has services, and they endpoints");
    let service = |number: u32| {
        let socket = service(family, number);
        let endpoints = number * endpoints_each..(number + 1) * endpoints_each;
        Service {
            name: format!("service-{number}"),
            protocol: Protocol::Udp,
            address: socket.ip(),
            port: socket.port(),
            node_port: (number == 0).then_some(NODE_PORT),
            endpoints: endpoints.map(|endpoint| self::endpoint(family, endpoint)).collect(),
        }
    };
    let pods = match family {
        Family::V4 => (ENDPOINTS_V4.into(), 8),
        Family::V6 => (ENDPOINTS_V6.into(), 64),
    };
    Ok(Setup {
        node_addresses: vec![NODE1.ip(family), east(family).0],
        cluster_cidrs: vec![pods],
        services: (0..services).map(service).collect(),
    })
}
