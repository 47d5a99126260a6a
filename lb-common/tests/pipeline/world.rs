//! The world of these tests: node 1 with its tables filled for the cast.
//!
//! Everything exists in both families and for both transports: a cluster address, a second one, and
//! a node port, all with the backends that the test names. Interfaces have fixed numbers.
//! Packets and their outcomes are `traffic.rs`.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    host::HostTables,
    pipeline::Route,
    tables::{
        AddressOwner, Backend, BackendRef, Device, DeviceRole, Egress, Frontend, FrontendKey,
        Selection, Service, SnatPorts,
    },
    wire::{L4, MacPair},
};
use lb_tests::lab::cast::{self, Family, Host, Mac, NODE1, NODE2, Name, OUTSIDE};

/// Node 1's interface to the other machines.
pub const UPLINK: u32 = 2;
/// Ports of backends.
pub const BACKEND_PORT: u16 = 8080;
/// The port of the cluster addresses.
pub const SERVICE_PORT: u16 = 80;
/// The node port.
pub const NODE_PORT: u16 = 30_080;
/// The client's port.
pub const CLIENT_PORT: u16 = 40_000;
/// Ports for SNAT.
pub const SNAT_PORTS: SnatPorts = SnatPorts { first: 61_000, count: 500 };
/// How long an uplink's packets may be.
pub const MTU: u16 = 1500;
/// The client on node 1.
pub const POD: Host = cast::pod(1, 1);
/// A backend on node 1.
pub const LOCAL: Host = cast::pod(1, 2);
/// A backend on node 2.
pub const REMOTE: Host = cast::pod(2, 1);
/// The transports.
pub const TRANSPORTS: [L4; 3] = [L4::Tcp, L4::Udp, L4::Sctp];

/// The frontends of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Cluster,
    OtherCluster,
    Node,
}

impl Front {
    pub const ALL: [Self; 3] = [Self::Cluster, Self::OtherCluster, Self::Node];

    pub fn socket(self, family: Family) -> SocketAddr {
        match self {
            Self::Cluster => SocketAddr::new(cast::service(family, 1), SERVICE_PORT),
            Self::OtherCluster => SocketAddr::new(cast::service(family, 2), SERVICE_PORT),
            Self::Node => NODE1.socket(family, NODE_PORT),
        }
    }

    /// The number of its service, one for each family and transport.
    pub fn service(self, family: Family, l4: L4) -> u32 {
        1 + 6 * self as u32 + 3 * u32::from(family == Family::V6) + l4 as u32
    }
}

/// Node 1.
pub struct World {
    pub tables: HostTables,
    pub now: u32,
}

impl World {
    /// A world in which every service has these backends.
    pub fn new(backends: &[Host]) -> Self {
        let mut world = Self { tables: HostTables::new(), now: 1_000 };
        world.tables.config.snat_ports = SNAT_PORTS;
        // Tests that change the ports stay among these.
        world.tables.config.reply_ports = SnatPorts { first: SNAT_PORTS.first, count: 4_000 };
        world.tables.config.hash_key = [0x5eed, 0xfeed];
        world.tables.config.graduate_udp = 1;
        for pod in [POD, LOCAL] {
            world.tables.devices.insert(device_of(pod), workload());
        }
        world.tables.devices.insert(UPLINK, uplink());
        for family in Family::BOTH {
            for pod in [POD, LOCAL] {
                world.route(family, pod, Route::Via);
            }
            for host in [OUTSIDE, NODE2, REMOTE, cast::pod(2, 2), cast::pod(2, 3)] {
                world.route(family, host, Route::Via);
            }
            world.route(family, NODE1, Route::Local);
            for l4 in TRANSPORTS {
                world.publish(family, l4, backends);
            }
        }
        world
    }

    /// Gives every service of this family and transport these backends.
    fn publish(&mut self, family: Family, l4: L4, backends: &[Host]) {
        for host in backends {
            let id = self.backend(*host, family, l4);
            self.tables.backends.entry(id.id).or_insert(Backend {
                generation: id.generation,
                address: mapped(host.ip(family)),
                port: Port::from_host(BACKEND_PORT),
                protocol: l4.protocol().0,
                ..Backend::default()
            });
        }
        for front in Front::ALL {
            let flags = if front == Front::Node { 0 } else { Frontend::CLUSTER_IP };
            self.lead(front, family, l4, flags);
            self.choose_from(front, family, l4, backends);
        }
    }

    /// Makes a frontend lead to its service, with these flags.
    pub fn lead(&mut self, front: Front, family: Family, l4: L4, flags: u32) {
        let (service, socket) = (front.service(family, l4), front.socket(family));
        let (port, leads) = (Port::from_host(socket.port()), Frontend { service, flags });
        match socket.ip() {
            IpAddr::V4(ip) => {
                let key = FrontendKey::new(ip.into(), port, l4.protocol());
                self.tables.v4.frontends.insert(key, leads);
            }
            IpAddr::V6(ip) => {
                let key = FrontendKey::new(ip.into(), port, l4.protocol());
                self.tables.v6.frontends.insert(key, leads);
            }
        }
    }

    /// Gives a service a selection table with these backends, whose lines must be filled.
    pub fn choose_from(&mut self, front: Front, family: Family, l4: L4, backends: &[Host]) {
        let service = front.service(family, l4);
        let base = service * 100;
        for (at, host) in (base..).zip(backends) {
            let backend = self.backend(*host, family, l4);
            self.tables.slots.insert(at, backend);
        }
        let selection = Selection::new(base, u32::try_from(backends.len()).unwrap()).unwrap();
        let line = self.tables.services.entry(service).or_default();
        *line = Service { all: selection, internal: selection, external: selection, ..*line };
    }

    /// A socket of this node.
    pub fn bind(&mut self, l4: L4, socket: SocketAddr) {
        let (protocol, port) = (l4.protocol().0, Port::from_host(socket.port()));
        match socket.ip() {
            IpAddr::V4(ip) => self.tables.v4.sockets.insert((protocol, ip.into(), port)),
            IpAddr::V6(ip) => self.tables.v6.sockets.insert((protocol, ip.into(), port)),
        };
    }

    /// The line of a service.
    pub fn service(&mut self, front: Front, family: Family, l4: L4) -> &mut Service {
        self.tables.services.get_mut(&front.service(family, l4)).expect("a service of the world")
    }

    /// The reference of a host's backend, with the generation that its line has now, else 1.
    pub fn backend(&self, host: Host, family: Family, l4: L4) -> BackendRef {
        let Name::Pod(node, number) = host.name else { panic!("{} is no pod", host.name) };
        let id = 400 * u32::from(node)
            + 8 * u32::from(number)
            + 4 * u32::from(family == Family::V6)
            + l4 as u32;
        let line = self.tables.backends.get(&id);
        BackendRef { id, generation: line.map_or(1, |line| line.generation) }
    }

    /// Puts another generation into a host's line: 0 for a backend that is gone.
    pub fn set_generation(&mut self, host: Host, family: Family, l4: L4, generation: u32) {
        let id = self.backend(host, family, l4).id;
        self.tables.backends.get_mut(&id).unwrap().generation = generation;
    }

    /// Says whose an address is.
    pub fn own(&mut self, address: IpAddr, owner: AddressOwner) {
        match address {
            IpAddr::V4(ip) => drop(self.tables.v4.owners.insert(ip.into(), owner as u32)),
            IpAddr::V6(ip) => drop(self.tables.v6.owners.insert(Ipv6::from(ip), owner as u32)),
        }
    }

    /// What the routing table says of a host: by its own interface if it is a pod here, else by the
    /// uplink, with node 2's pods behind node 2.
    pub fn route(&mut self, family: Family, host: Host, route: Route) {
        let (ifindex, macs) = match host.name {
            Name::Pod(1, number) => (device_of(host), (cast::gateway_mac(1, number), host.mac)),
            Name::Pod(_, _) => (UPLINK, (NODE1.mac, NODE2.mac)),
            _ => (UPLINK, (NODE1.mac, host.mac)),
        };
        self.route_by(family, host, route, ifindex, macs);
    }

    /// The same, with interface and link-layer addresses (source, destination).
    pub fn route_by(
        &mut self,
        family: Family,
        host: Host,
        route: Route,
        ifindex: u32,
        (from, to): (Mac, Mac),
    ) {
        let mut egress = Egress { ifindex, ..Egress::default() };
        if route == Route::Via {
            egress.macs = MacPair::new(to.0, from.0);
            egress.flags = Egress::NEIGHBOUR;
        }
        match family {
            Family::V4 => self.tables.v4.routes.insert(host.v4.into(), (route, egress)).map(drop),
            Family::V6 => self.tables.v6.routes.insert(host.v6.into(), (route, egress)).map(drop),
        };
    }
}

/// The interface of a pod of node 1.
pub fn device_of(pod: Host) -> u32 {
    let Name::Pod(1, number) = pod.name else { panic!("{} is no pod of node 1", pod.name) };
    10 + u32::from(number)
}

fn workload() -> Device {
    Device { role: DeviceRole::Workload as u8, mtu: MTU, ..Device::default() }
}

fn uplink() -> Device {
    Device {
        role: DeviceRole::Uplink as u8,
        flags: Device::XDP_TRANSMIT,
        mtu: MTU,
        snat_v4: NODE1.v4.into(),
        snat_v6: NODE1.v6.into(),
        ..Device::default()
    }
}

fn mapped(ip: IpAddr) -> Ipv6 {
    match ip {
        IpAddr::V4(ip) => Ipv6::mapped(Ipv4::from(ip)),
        IpAddr::V6(ip) => ip.into(),
    }
}
