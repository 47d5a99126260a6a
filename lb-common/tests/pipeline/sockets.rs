//! Sockets that connect, send, are asked for their peer, bind and are closed: table by table, without a kernel.

mod talks;

use std::{
    cell::Cell,
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    host::{HostFamily, HostSocket, HostTables},
    pipeline::Family as WireFamily,
    socket::{self, End},
    tables::{AffinityRule, Endpoint, EndpointKey, Frontend, FrontendKey, Selection},
    verdict::{DropReason, Event},
    wire::L4,
};
use lb_tests::lab::cast::{Family, Host, NODE1};

use crate::world::{BACKEND_PORT, Front, LOCAL, NODE_PORT, REMOTE, World};

const SOCKET: HostSocket = HostSocket {
    cookie: 0x1_0000_0007,
    namespace: 0x2_0000_0003,
    is_of_node: true,
    host_only: false,
    random: 0,
};

const POD: HostSocket = HostSocket { cookie: 8, namespace: 9, is_of_node: false, ..SOCKET };

/// A system call, and where it goes after the programs.
type Outcome = Result<Option<SocketAddr>, DropReason>;

trait Of: HostFamily + WireFamily {
    fn of(ip: IpAddr) -> Self;
}

impl Of for Ipv4 {
    fn of(ip: IpAddr) -> Self {
        let IpAddr::V4(ip) = ip else { panic!("{ip} is not IPv4") };
        ip.into()
    }
}

impl Of for Ipv6 {
    fn of(ip: IpAddr) -> Self {
        let IpAddr::V6(ip) = ip else { panic!("{ip} is not IPv6") };
        ip.into()
    }
}

fn end<A: Of>(at: SocketAddr, l4: L4) -> End<A> {
    End { address: A::of(at.ip()), port: Port::from_host(at.port()), protocol: l4.protocol() }
}

fn shown<A: Of>((address, port): (A, Port)) -> SocketAddr {
    (address.to_ip(), port.to_host()).into()
}

/// Does the same in either family.
macro_rules! either {
    ($of:expr, $call:ident($($argument:expr),*)) => {
        match $of { Family::V4 => $call::<Ipv4>($($argument),*), Family::V6 => $call::<Ipv6>($($argument),*) }
    };
}

fn connect_as<A: Of>(
    world: &World,
    socket: HostSocket,
    l4: L4,
    to: SocketAddr,
    before: Option<SocketAddr>,
) -> Outcome {
    let given = Cell::new(None);
    let (to, before) = (end::<A>(to, l4), before.map(|before| end::<A>(before, l4)));
    let give = |endpoint| given.set(Some(shown(endpoint)));
    socket::connect(&socket, &world.tables, world.now, to, || before, give)?;
    Ok(given.get())
}

fn send_as<A: Of>(world: &World, socket: HostSocket, to: SocketAddr) -> Outcome {
    let given = Cell::new(None);
    let give = |endpoint| given.set(Some(shown(endpoint)));
    socket::send(&socket, &world.tables, world.now, end::<A>(to, L4::Udp), give)?;
    Ok(given.get())
}

fn service_as<A: Of>(
    world: &World,
    socket: HostSocket,
    l4: L4,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    socket::service_of(&socket, &world.tables, end::<A>(peer, l4)).map(shown)
}

fn release_as<A: Of>(world: &World, socket: HostSocket, l4: L4, peer: Option<SocketAddr>) {
    if let Some(peer) = peer {
        socket::release(&socket, &world.tables, end::<A>(peer, l4));
    }
    socket::release_talks::<A, _, _>(&socket, &world.tables);
}

fn connect(world: &World, socket: HostSocket, l4: L4, to: SocketAddr) -> Outcome {
    either!(Family::of(to.ip()), connect_as(world, socket, l4, to, None))
}

fn send(world: &World, socket: HostSocket, to: SocketAddr) -> Outcome {
    either!(Family::of(to.ip()), send_as(world, socket, to))
}

fn service(world: &World, socket: HostSocket, l4: L4, peer: SocketAddr) -> Option<SocketAddr> {
    either!(Family::of(peer.ip()), service_as(world, socket, l4, peer))
}

fn release(world: &World, socket: HostSocket, family: Family, l4: L4, peer: Option<SocketAddr>) {
    either!(family, release_as(world, socket, l4, peer));
}

fn endpoint(host: Host, family: Family) -> SocketAddr {
    host.socket(family, BACKEND_PORT)
}

/// How many entries the tables of sockets have: what is translated, and talks.
fn entries(tables: &HostTables) -> (usize, usize) {
    let translated = tables.v4.translated.borrow().len() + tables.v6.translated.borrow().len();
    (translated, tables.v4.talks.borrow().len() + tables.v6.talks.borrow().len())
}

/// Each family and each transport that sockets are served in.
fn each(check: impl Fn(Family, L4)) {
    for family in Family::BOTH {
        for l4 in [L4::Tcp, L4::Udp] {
            check(family, l4);
        }
    }
}

/// The node port also wherever on the node.
fn with_any_node(backends: &[Host]) -> World {
    let mut world = World::new(backends);
    for family in Family::BOTH {
        for l4 in [L4::Tcp, L4::Udp] {
            let service = Front::Node.service(family, l4);
            let leads = Frontend { service, flags: Frontend::NODE_PORT };
            let (port, protocol) = (Port::from_host(NODE_PORT), l4.protocol());
            match family {
                Family::V4 => {
                    world.tables.v4.frontends.insert(FrontendKey::any_node(port, protocol), leads)
                }
                Family::V6 => {
                    world.tables.v6.frontends.insert(FrontendKey::any_node(port, protocol), leads)
                }
            };
            world.lead(Front::Node, family, l4, Frontend::NODE_PORT);
        }
    }
    world
}

#[test]
fn a_socket_gets_an_endpoint_and_sees_the_service() {
    each(|family, l4| {
        for front in Front::ALL {
            let world = World::new(&[REMOTE]);
            let (to, there) = (front.socket(family), endpoint(REMOTE, family));
            assert_eq!(connect(&world, SOCKET, l4, to), Ok(Some(there)), "{front:?}");
            assert_eq!(service(&world, SOCKET, l4, there), Some(to));
            assert_eq!(service(&world, POD, l4, there), None, "another socket");
            assert_eq!(service(&world, SOCKET, l4, endpoint(LOCAL, family)), None);
            let id = world.backend(REMOTE, family, l4).id;
            assert_eq!(world.tables.backend_traffic(id).flows, 1);
            assert_eq!(world.tables.counters(), [(Event::SocketTranslated as u32, 1)].into());
            release(&world, SOCKET, family, l4, Some(there));
            assert_eq!(entries(&world.tables), (0, 0));
        }
    });
}

#[test]
fn sockets_are_spread_over_all_endpoints() {
    each(|family, l4| {
        let world = World::new(&[LOCAL, REMOTE]);
        let connected = |random| {
            let socket = HostSocket { random, ..SOCKET };
            connect(&world, socket, l4, Front::Cluster.socket(family)).unwrap().unwrap()
        };
        let all: BTreeSet<SocketAddr> = (0..64).map(connected).collect();
        assert_eq!(all, [LOCAL, REMOTE].map(|host| endpoint(host, family)).into());
    });
}

#[test]
fn what_is_no_frontend_costs_no_lookup_or_one() {
    each(|family, l4| {
        let world = with_any_node(&[LOCAL]);
        let lookups = |socket, to| {
            let before = world.tables.lookups();
            assert_eq!(connect(&world, socket, l4, to), Ok(None), "{to}");
            world.tables.lookups() - before
        };
        let service_port = Front::Cluster.socket(family).port();
        assert_eq!(lookups(SOCKET, endpoint(LOCAL, family)), 0, "a port of no frontend");
        assert_eq!(lookups(SOCKET, LOCAL.socket(family, service_port)), 1);
        assert_eq!(lookups(POD, loopback(family, NODE_PORT)), 0, "a pod's own");
        assert_eq!(entries(&world.tables), (0, 0));
        assert_eq!(world.tables.counters(), [].into());
    });
}

fn loopback(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => ([127, 0, 0, 9], port).into(),
        Family::V6 => (std::net::Ipv6Addr::LOCALHOST, port).into(),
    }
}

#[test]
fn node_ports_are_on_loopback_for_processes_of_the_node() {
    each(|family, l4| {
        let world = with_any_node(&[LOCAL]);
        let to = loopback(family, NODE_PORT);
        let there = endpoint(LOCAL, family);
        assert_eq!(connect(&world, SOCKET, l4, to), Ok(Some(there)));
        assert_eq!(service(&world, SOCKET, l4, there), Some(to));
        let cluster = loopback(family, Front::Cluster.socket(family).port());
        assert_eq!(connect(&world, SOCKET, l4, cluster), Ok(None), "no node port");
    });
}

#[test]
fn guarded_frontends_and_those_that_want_packets_are_left_to_them() {
    each(|family, l4| {
        for flag in [Frontend::GUARDED, Frontend::PACKETS_ONLY] {
            let mut world = World::new(&[LOCAL]);
            let to = Front::Node.socket(family);
            assert!(connect(&world, SOCKET, l4, to).unwrap().is_some());
            world.lead(Front::Node, family, l4, flag);
            assert_eq!(connect(&world, SOCKET, l4, to), Ok(None));
            assert_eq!(send(&world, SOCKET, to).unwrap().is_some(), l4 == L4::Tcp);
        }
    });
}

#[test]
fn for_the_host_only_other_namespaces_are_left_alone() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let to = Front::Cluster.socket(family);
        let only = |socket| HostSocket { host_only: true, ..socket };
        assert!(connect(&world, only(SOCKET), l4, to).unwrap().is_some());
        assert_eq!(connect(&world, only(POD), l4, to), Ok(None));
        assert!(connect(&world, POD, l4, to).unwrap().is_some());
    });
}

#[test]
fn without_an_endpoint_the_reason_is_said_and_counted() {
    each(|family, l4| {
        for (selection, reason) in [
            (Selection::EMPTY, DropReason::NoBackend),
            (Selection::NONE_HERE, DropReason::NoLocalBackend),
        ] {
            let mut world = World::new(&[LOCAL]);
            world.service(Front::Cluster, family, l4).internal = selection;
            let to = Front::Cluster.socket(family);
            assert_eq!(connect(&world, SOCKET, l4, to), Err(reason));
            assert_eq!(world.tables.counters(), [(reason as u32, 1)].into());
            assert_eq!(entries(&world.tables), (0, 0));
        }
    });
}

#[test]
fn the_external_policy_is_not_for_sockets() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.service(Front::Node, family, l4).external = Selection::NONE_HERE;
        let to = Front::Node.socket(family);
        assert_eq!(connect(&world, SOCKET, l4, to), Ok(Some(endpoint(REMOTE, family))));
    });
}

#[test]
fn a_udp_socket_that_is_connected_anew_forgets_where_it_was() {
    for family in Family::BOTH {
        let world = World::new(&[LOCAL]);
        let (to, there) = (Front::Cluster.socket(family), endpoint(LOCAL, family));
        let other = endpoint(REMOTE, family);
        assert_eq!(connect(&world, SOCKET, L4::Udp, to), Ok(Some(there)));
        let mut world = World { tables: world.tables, ..world };
        world.choose_from(Front::Cluster, family, L4::Udp, &[LOCAL]);
        let again = either!(family, connect_as(&world, SOCKET, L4::Udp, to, Some(other)));
        assert_eq!(again, Ok(Some(there)));
        assert_eq!(service(&world, SOCKET, L4::Udp, there), Some(to), "it is still there");
        let elsewhere = Front::OtherCluster.socket(family);
        let again = either!(family, connect_as(&world, SOCKET, L4::Udp, elsewhere, Some(there)));
        assert_eq!(again, Ok(Some(there)));
        assert_eq!(service(&world, SOCKET, L4::Udp, there), Some(elsewhere));
        assert_eq!(entries(&world.tables), (1, 0));
    }
}

#[test]
fn with_affinity_a_namespace_is_a_client_and_no_address_is_taken_for_one() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL, REMOTE]);
        let number = Front::Cluster.service(family, l4);
        world.service(Front::Cluster, family, l4).affinity = AffinityRule { group: 5, seconds: 60 };
        for host in [LOCAL, REMOTE] {
            let backend = world.backend(host, family, l4);
            let mixed = match family {
                Family::V4 => lb_common::addr::Address::mix(Ipv4::from(host.v4)),
                Family::V6 => lb_common::addr::Address::mix(Ipv6::from(host.v6)),
            };
            let key = EndpointKey { service: number, endpoint: mixed };
            let found = Endpoint { backend, selections: 0b111, reserved: 0 };
            world.tables.endpoints.insert(key, found);
        }
        let to = Front::Cluster.socket(family);
        let given = |namespace: u64, random: u32| {
            let socket = HostSocket { namespace, random, ..POD };
            connect(&world, socket, l4, to).unwrap().unwrap()
        };
        let first: Vec<SocketAddr> = (0..32).map(|pod| given(pod << 32 | 7, 0)).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2, "namespaces are spread");
        for random in 1..9 {
            let again: Vec<SocketAddr> = (0..32).map(|pod| given(pod << 32 | 7, random)).collect();
            assert_eq!(again, first);
        }
        let kinds = |kinds: Vec<u32>| assert!(kinds.iter().all(|kind| kind >> 31 == 1));
        kinds(world.tables.v4.affinity.borrow().keys().map(|key| key.kind).collect());
        kinds(world.tables.v6.affinity.borrow().keys().map(|key| key.kind).collect());
        let remembered =
            world.tables.v4.affinity.borrow().len() + world.tables.v6.affinity.borrow().len();
        assert_eq!(remembered, 32);
    });
}

#[test]
fn nobody_on_the_node_binds_a_node_port() {
    each(|family, l4| {
        let world = with_any_node(&[LOCAL]);
        let may = |socket: HostSocket, at: SocketAddr, l4: L4| match family {
            Family::V4 => socket::may_bind(&socket, &world.tables, end::<Ipv4>(at, l4)),
            Family::V6 => socket::may_bind(&socket, &world.tables, end::<Ipv6>(at, l4)),
        };
        let any = match family {
            Family::V4 => IpAddr::from([0, 0, 0, 0]),
            Family::V6 => IpAddr::from([0_u16; 8]),
        };
        let mut refused = 0;
        for ip in [any, loopback(family, 0).ip(), NODE1.ip(family)] {
            let at = |port| SocketAddr::new(ip, port);
            assert!(!may(SOCKET, at(NODE_PORT), l4), "{ip}");
            assert!(may(POD, at(NODE_PORT), l4), "{ip} in a pod");
            assert!(may(SOCKET, at(NODE_PORT + 1), l4), "{ip}");
            assert!(may(SOCKET, at(Front::Cluster.socket(family).port()), l4), "{ip}");
            refused += 1;
        }
        assert!(may(SOCKET, LOCAL.socket(family, NODE_PORT), l4), "no address of the node");
        assert!(may(SOCKET, Front::Cluster.socket(family), l4), "a frontend, and no node port");
        assert_eq!(world.tables.counter(Event::BindRefused as u32), refused);
    });
}
