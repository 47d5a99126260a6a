//! Who is in the bed's world: node 1 with five uplinks and two pods, and for each kind of backend a
//! service that has only this one. `network` and `services` make it so.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use lb_common::{
    hook::Hook,
    pipeline::Route,
    tables::{Device, DeviceRole, Egress},
    wire::{L4, MacPair},
};
use lb_tests::lab::cast::{self, Family, Host, Mac, NODE1, NODE2, OUTSIDE};
use lb_userspace::model::Algorithm;
use nix::net::if_::if_nametoindex;

use super::{At, Point, sent::action};

/// Ports of backends.
pub const BACKEND_PORT: u16 = 8080;
/// The port of cluster addresses.
pub const SERVICE_PORT: u16 = 80;
/// The client's port.
pub const CLIENT_PORT: u16 = 40_000;
/// How long packets of the interfaces may be.
pub const MTU: u16 = 1500;
/// The pod that is the client.
pub const POD: Host = cast::pod(1, 1);
/// The transports that every program knows.
pub const TRANSPORTS: [L4; 2] = [L4::Tcp, L4::Udp];

/// How many uplinks the node has.
pub const UPLINKS: u8 = 5;

/// Kinds of backends, by what is special about the way there. Each is what a service of its own has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The client itself.
    Oneself,
    /// Another pod of this node.
    Local,
    /// A process on this node.
    Node,
    /// Behind node 2, whose link-layer address is known.
    Remote,
    /// Behind node 3, whose link-layer address isn't.
    Unresolved,
    /// Where the routing table says there is no way.
    Unreachable,
    /// Behind another uplink.
    Elsewhere,
    /// Behind an uplink that doesn't send for XDP.
    Deaf,
    /// Behind an uplink that has no address.
    Addressless,
    /// Behind an interface that is no uplink of ours.
    Unmanaged,
    /// There is none.
    Missing,
    /// One of several: local, remote and elsewhere.
    Several,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Oneself,
        Self::Local,
        Self::Node,
        Self::Remote,
        Self::Unresolved,
        Self::Unreachable,
        Self::Elsewhere,
        Self::Deaf,
        Self::Addressless,
        Self::Unmanaged,
        Self::Missing,
        Self::Several,
    ];

    /// The hosts behind the service.
    pub fn hosts(self) -> Vec<Host> {
        match self {
            Self::Oneself => vec![POD],
            Self::Local => vec![cast::pod(1, 2)],
            Self::Node => vec![NODE1],
            Self::Remote => vec![cast::pod(2, 1)],
            Self::Unresolved => vec![cast::pod(3, 1)],
            Self::Unreachable => vec![cast::pod(4, 1)],
            Self::Elsewhere => vec![cast::pod(5, 1)],
            Self::Deaf => vec![cast::pod(6, 1)],
            Self::Addressless => vec![cast::pod(7, 1)],
            Self::Unmanaged => vec![cast::pod(8, 1)],
            Self::Missing => vec![],
            Self::Several => vec![cast::pod(1, 2), cast::pod(2, 1), cast::pod(5, 1)],
        }
    }

    /// Its only host's socket.
    pub fn socket(self, family: Family) -> SocketAddr {
        self.hosts()[0].socket(family, BACKEND_PORT)
    }

    const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The uplink at which the host is, for those that have one to themselves.
    pub fn uplink(self) -> Option<(u8, Host)> {
        let number = match self {
            Self::Elsewhere => 1,
            Self::Deaf => 2,
            Self::Addressless => 3,
            Self::Unmanaged => 4,
            _ => return None,
        };
        Some((number, self.hosts()[0]))
    }
}

/// The two kinds of addresses that a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The cluster address.
    Cluster,
    /// The node port.
    Node,
}

impl Front {
    /// The address of the service with this backend.
    pub fn socket(self, family: Family, backend: Backend) -> SocketAddr {
        match self {
            Self::Cluster => SocketAddr::new(cast::service(family, backend.number()), SERVICE_PORT),
            Self::Node => NODE1.socket(family, 30_080 + u16::from(backend.number())),
        }
    }
}

/// Services with rules of their own, behind which there are several backends. Each is at one address,
/// which is neither a cluster IP nor the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    /// With session affinity.
    Sticky,
    /// With source ranges.
    Guarded,
    /// None of the backends is here, as far as the external traffic policy goes.
    Absent,
    /// With backends that take turns.
    Turns,
    /// By one end of the tuple, in one of three ways.
    Hashed,
    /// Whoever has the least to do, in one of three ways.
    Least,
}

impl Ruled {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sticky, Self::Guarded, Self::Absent, Self::Turns, Self::Hashed, Self::Least];

    /// The algorithm of the service of a family and transport; all there are, between them.
    pub const fn algorithm(self, family: Family, l4: L4) -> Algorithm {
        use Algorithm as A;
        let which = (l4 as usize + matches!(family, Family::V6) as usize) % 3;
        match self {
            Self::Sticky | Self::Guarded | Self::Absent => A::Random,
            Self::Turns => A::RoundRobin,
            Self::Hashed => [A::SourceHash, A::DestinationHash, A::Maglev][which],
            Self::Least => [A::LeastConnection, A::ShortestExpectedDelay, A::NeverQueue][which],
        }
    }

    /// The address.
    pub fn socket(self, family: Family) -> SocketAddr {
        SocketAddr::new(cast::service(family, 101 + self as u8), SERVICE_PORT)
    }

    /// One of the addresses that [`Ruled::Guarded`] admits: the outside's and the nodes', but no pod's.
    pub fn admitted(family: Family) -> IpAddr {
        OUTSIDE.ip(family)
    }
}

/// An address of the range of cluster IPs that no service has.
pub fn unallocated(family: Family) -> IpAddr {
    cast::service(family, 200)
}

/// The link-layer address of an uplink.
pub const fn uplink_mac(number: u8) -> Mac {
    match number {
        0 => NODE1.mac,
        _ => Mac([0x02, 0, 0, 0, 9, number]),
    }
}

/// The interfaces' indices.
#[derive(Clone, Copy, Debug)]
pub struct Devices {
    /// `eth0` and so on.
    pub uplinks: [u32; UPLINKS as usize],
    /// The node's ends of pods 1 and 2.
    pub pods: [u32; 2],
    /// Where XDP sees packets from other machines: `eth0`, unless the kernel's test-run knows no
    /// place but the loopback device, which then is an uplink too.
    pub xdp: u32,
}

impl Devices {
    /// Asks the kernel, inside the namespace.
    pub fn find() -> Result<Self> {
        let index = |name: String| if_nametoindex(name.as_str()).context(name);
        let mut devices = Self { uplinks: [0; UPLINKS as usize], pods: [0; 2], xdp: 0 };
        for (number, device) in devices.uplinks.iter_mut().enumerate() {
            *device = index(format!("eth{number}"))?;
        }
        for (pod, device) in (1..).zip(&mut devices.pods) {
            *device = index(cast::host_side(1, pod))?;
        }
        devices.xdp = devices.uplinks[0];
        Ok(devices)
    }

    /// What the programs are told of them.
    pub fn table(&self) -> Vec<(u32, Device)> {
        let pod = Device { role: DeviceRole::Workload as u8, mtu: MTU, ..Device::default() };
        let uplink = Device {
            role: DeviceRole::Uplink as u8,
            flags: Device::XDP_TRANSMIT,
            mtu: MTU,
            snat_v4: NODE1.v4.into(),
            snat_v6: NODE1.v6.into(),
            ..Device::default()
        };
        let deaf = Device { flags: 0, ..uplink };
        let addressless =
            Device { role: uplink.role, flags: uplink.flags, mtu: MTU, ..Device::default() };
        let [eth0, eth1, eth2, eth3, _] = self.uplinks;
        // The first twice, where XDP is there too: the table has it once.
        vec![
            (self.xdp, uplink),
            (eth0, uplink),
            (eth1, uplink),
            (eth2, deaf),
            (eth3, addressless),
            (self.pods[0], pod),
            (self.pods[1], pod),
        ]
    }
}

/// The interfaces and the ways to everyone.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The interfaces.
    pub devices: Devices,
}

impl World {
    /// From [`POD`], at its interface.
    pub const fn pod_in(&self) -> At {
        self.at(Point::Tc(Hook::WorkloadIn))
    }

    /// To [`POD`], at its interface.
    pub const fn pod_out(&self) -> At {
        self.at(Point::Tc(Hook::WorkloadOut))
    }

    /// From other machines.
    pub const fn uplink_in(&self) -> At {
        self.at(Point::Tc(Hook::UplinkIn))
    }

    /// To other machines.
    pub const fn uplink_out(&self) -> At {
        self.at(Point::Tc(Hook::UplinkOut))
    }

    /// From other machines, before there is a socket buffer.
    pub const fn xdp(&self) -> At {
        self.at(Point::Xdp)
    }

    /// What XDP answers when a packet is to leave by `eth0`: by the interface that it came in on, if
    /// XDP is there.
    pub const fn out_of_eth0(&self) -> i32 {
        if self.devices.xdp == self.devices.uplinks[0] {
            action::XDP_TX
        } else {
            action::XDP_REDIRECT
        }
    }

    /// A program at the interface where it belongs.
    pub const fn at(&self, point: Point) -> At {
        let ifindex = match point {
            Point::Xdp => self.devices.xdp,
            Point::Tc(Hook::WorkloadIn | Hook::WorkloadOut) => self.devices.pods[0],
            Point::Tc(_) => self.devices.uplinks[0],
        };
        At { point, ifindex, segment_payload: 0 }
    }

    /// What the routing table says of every host that a packet may be sent to.
    pub fn routes(&self) -> Vec<(Host, Route, Egress)> {
        let via = |ifindex, from: Mac, to: Mac| {
            let macs = MacPair::new(to.0, from.0);
            (Route::Via, Egress { ifindex, macs, flags: Egress::NEIGHBOUR, ..Egress::default() })
        };
        let eth0 = self.devices.uplinks[0];
        let unresolved = (Route::Unresolved, Egress { ifindex: eth0, ..Egress::default() });
        let mut routes = vec![
            (OUTSIDE, via(eth0, NODE1.mac, OUTSIDE.mac)),
            (NODE1, (Route::Local, Egress::default())),
            (NODE2, via(eth0, NODE1.mac, NODE2.mac)),
            (cast::node(3), unresolved),
            (cast::pod(2, 1), via(eth0, NODE1.mac, NODE2.mac)),
            (cast::pod(3, 1), unresolved),
            (cast::pod(4, 1), (Route::None, Egress::default())),
        ];
        for (number, ifindex) in (1..=2).zip(self.devices.pods) {
            let pod = cast::pod(1, number);
            routes.push((pod, via(ifindex, cast::gateway_mac(1, number), pod.mac)));
        }
        for (uplink, host) in Backend::ALL.into_iter().filter_map(Backend::uplink) {
            let ifindex = self.devices.uplinks[usize::from(uplink)];
            routes.push((host, via(ifindex, uplink_mac(uplink), host.mac)));
        }
        routes.into_iter().map(|(host, (route, egress))| (host, route, egress)).collect()
    }
}
