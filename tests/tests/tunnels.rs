//! Uplinks without link layer, with real sockets through a tunnel of plain IP packets: clients and endpoints beyond it,
//! and those who talk with them from elsewhere. Needs root.

mod common;

use std::{
    io::{self, ErrorKind, Write as _},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use common::{Bed, SOON};
use lb_tests::{
    echo::{self, BACKEND_PORT, NODE_PORT, Pod, cluster_ip, name},
    lab::{
        Cluster, Namespace, Tunnel,
        cast::{self, Family, NODE1},
    },
    manifests::Endpoint,
    traffic::{EchoServer, Protocol, Session, ping, request},
};

/// What an endpoint beyond the tunnel calls itself.
const FAR: &str = "far";

/// The node's end of the tunnel, the client's beyond it, and the endpoint's there.
fn end(family: Family, number: u16) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([198, 51, 100, u8::try_from(number).expect("a small one")]),
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 9, 0, 0, 0, 0, number]),
    }
}

/// A cluster whose first node has a tunnel to the outside.
struct Site {
    bed: Bed,
    _far: Vec<EchoServer>,
    _tunnel: Tunnel,
}

/// `None`, said aloud: this kernel has no tun.
fn site(arguments: &[&str]) -> Result<Option<Site>> {
    let cluster = Cluster::start()?;
    let (node, outside) = (cluster.node(1), cluster.outside());
    let Some(tunnel) = Tunnel::start("tun0", [node, outside])? else {
        // Past libtest, which would keep it to itself.
        writeln!(io::stdout(), "\nnot tested: tunnels, because this kernel has no tun")?;
        return Ok(None);
    };
    node.ip("link set tun0 up\naddress add 198.51.100.1/24 dev tun0\n\
         address add 2001:db8:9::1/64 dev tun0 nodad")?;
    outside.ip(
        "link set tun0 up\naddress add 198.51.100.2/24 dev tun0\naddress add 198.51.100.3/24 dev tun0\n\
         address add 2001:db8:9::2/64 dev tun0 nodad\n\
         address add 2001:db8:9::3/64 dev tun0 nodad preferred_lft 0\n\
         route add 10.96.0.0/16 dev tun0\nroute add fd00:96::/112 dev tun0\n\
         route add 10.244.0.0/16 dev tun0\nroute add fd00:244::/32 dev tun0",
    )?;
    let mut far = Vec::new();
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let address = end(family, 3);
            far.push(EchoServer::start(outside, FAR, address, BACKEND_PORT, protocol)?);
        }
    }
    let arguments = [&["--uplink", "tun0"], arguments].concat();
    let bed = Bed::start(cluster, &[(1, 1), (2, 1)], &arguments)?;
    Ok(Some(Site { bed, _far: far, _tunnel: tunnel }))
}

/// Where a Service leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    /// Here, or behind Ethernet.
    Pod(Pod),
    /// Behind the tunnel.
    Far,
}

const EVERYWHERE: [Backend; 3] = [Backend::Pod((1, 1)), Backend::Pod((2, 1)), Backend::Far];

impl Backend {
    fn address(self, family: Family) -> SocketAddr {
        match self {
            Self::Pod((node, pod)) => cast::pod(node, pod).socket(family, BACKEND_PORT),
            Self::Far => SocketAddr::new(end(family, 3), BACKEND_PORT),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Pod(pod) => name(pod),
            Self::Far => FAR.to_owned(),
        }
    }

    /// Whom it takes for the client who asks from this address outside.
    fn peer(self, client: IpAddr) -> IpAddr {
        let family = Family::of(client);
        match self {
            Self::Pod((1, _)) => client,
            Self::Pod(_) => NODE1.ip(family),
            Self::Far => end(family, 1),
        }
    }
}

impl Site {
    /// Leaves the Service with one endpoint, or none.
    fn lead_to(&self, backend: Option<Backend>) -> Result<()> {
        let address = |family| backend.map(|backend| backend.address(family));
        let endpoints: Vec<_> =
            Family::BOTH.into_iter().filter_map(address).map(Endpoint::ready).collect();
        self.bed.manifests.write_endpoints(&self.bed.service, &endpoints)?;
        self.bed.lb.wait_for("the endpoint", |status| {
            let services = status["services"].as_array();
            services.is_some_and(|services| {
                services.iter().all(|service| {
                    let backends = service["backends"].as_array().cloned().unwrap_or_default();
                    let found: Vec<_> = backends.iter().map(ToString::to_string).collect();
                    match backend {
                        None => found.is_empty(),
                        Some(backend) => Family::BOTH.iter().any(|family| {
                            let address = backend.address(*family).to_string();
                            found.len() == 1 && found[0].contains(&address)
                        }),
                    }
                })
            })
        })?;
        Ok(())
    }

    /// Asks over both protocols, shortly and at length.
    fn ask(
        &self,
        client: &Namespace,
        target: SocketAddr,
        backend: Backend,
        from: Option<IpAddr>,
    ) -> Result<()> {
        for protocol in Protocol::BOTH {
            let what = || {
                let counters = self.bed.lb.status().map(|status| status["counters"].clone());
                format!(
                    "{protocol:?} from {} to {target}, endpoint {backend:?}\n{counters:#?}",
                    client.name()
                )
            };
            for _ in 0..3 {
                let answer = request(client, protocol, target, SOON).with_context(what)?;
                assert_eq!(answer.name, backend.name(), "{}", what());
                if let Some(from) = from {
                    assert_eq!(answer.peer.ip(), from, "{}", what());
                }
            }
            let mut session = Session::open(client, protocol, target, SOON).with_context(what)?;
            let long = if protocol == Protocol::Tcp { 200_000 } else { 1_400 };
            session.ask_with(&vec![b'x'; long]).with_context(what)?;
        }
        Ok(())
    }
}

/// From beyond the tunnel by the node's address there and the cluster's; from Ethernet; and from a pod.
fn everybody_reaches_everything(arguments: &[&str]) -> Result<()> {
    let Some(site) = site(arguments)? else { return Ok(()) };
    let cluster = &site.bed.cluster;
    for backend in EVERYWHERE {
        site.lead_to(Some(backend))?;
        for family in Family::BOTH {
            let (beyond, ethernet) = (end(family, 2), cast::OUTSIDE.ip(family));
            let node_port = SocketAddr::new(end(family, 1), NODE_PORT);
            let peer = |client| Some(backend.peer(client));
            site.ask(cluster.outside(), node_port, backend, peer(beyond))?;
            site.ask(cluster.outside(), cluster_ip(family), backend, peer(beyond))?;
            site.ask(cluster.outside(), echo::node_port(family), backend, peer(ethernet))?;
            let pod = cast::pod(1, 3).ip(family);
            site.ask(cluster.pod(1, 3), cluster_ip(family), backend, Some(pod))?;
        }
    }
    Ok(())
}

#[test]
fn clients_and_endpoints_beyond_a_tunnel_and_elsewhere_reach_each_other() -> Result<()> {
    everybody_reaches_everything(&[])
}

#[test]
fn with_netlink_filters_they_do_too() -> Result<()> {
    everybody_reaches_everything(&["--tc", "filter"])
}

#[test]
fn sockets_of_the_node_reach_services_over_a_tunnel_and_endpoints_beyond_it() -> Result<()> {
    let Some(site) = site(&[])? else { return Ok(()) };
    let node = site.bed.cluster.node(1);
    let over_ethernet = format!(
        "route replace 10.96.0.0/16 via {}\nroute replace fd00:96::/112 via {}",
        cast::NODE2.v4,
        cast::NODE2.v6
    );
    let over_tunnel = "route replace 10.96.0.0/16 dev tun0\nroute replace fd00:96::/112 dev tun0";
    for route in [over_tunnel, &over_ethernet] {
        node.ip(route)?;
        for backend in [Backend::Pod((2, 1)), Backend::Far] {
            site.lead_to(Some(backend))?;
            for family in Family::BOTH {
                site.ask(node, cluster_ip(family), backend, None).context(route.to_owned())?;
            }
        }
    }
    Ok(())
}

#[test]
fn clients_beyond_a_tunnel_are_refused_and_echoed_like_others() -> Result<()> {
    let Some(site) = site(&[])? else { return Ok(()) };
    let client = site.bed.cluster.outside();
    for family in Family::BOTH {
        ping(client, cluster_ip(family).ip(), SOON).with_context(|| format!("{family:?}"))?;
    }
    assert_eq!(site.bed.lb.counter("answer_echo")?, 2);
    site.lead_to(None)?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let error = request(client, protocol, cluster_ip(family), SOON);
            let error = error.err().context("an answer")?;
            assert_eq!(error.kind(), Some(ErrorKind::ConnectionRefused), "{error}");
        }
    }
    assert_eq!(site.bed.lb.counter("answer_reset")?, 2);
    assert_eq!(site.bed.lb.counter("answer_unreachable")?, 2);
    Ok(())
}

/// Where the way goes on it takes less than the tunnel: whoever is beyond is told, and so is the node's own socket.
#[test]
fn what_is_too_long_for_the_way_behind_a_tunnel_is_told() -> Result<()> {
    let Some(site) = site(&[])? else { return Ok(()) };
    let node = site.bed.cluster.node(1);
    node.ip("link set eth0 mtu 1400")?;
    node.ip("route replace 10.96.0.0/16 dev tun0\nroute replace fd00:96::/112 dev tun0")?;
    let backend = Backend::Pod((2, 1));
    site.lead_to(Some(backend))?;
    for client in [site.bed.cluster.outside(), node] {
        for family in Family::BOTH {
            let before = site.bed.lb.counter("answer_too_big")?;
            let mut session = Session::open(client, Protocol::Tcp, cluster_ip(family), SOON)?;
            let answer = session.ask_with(&vec![b'x'; 200_000])?;
            assert_eq!(answer.name, backend.name());
            let after = site.bed.lb.counter("answer_too_big")?;
            assert!(after > before, "{} was told nothing over {family:?}", client.name());
        }
    }
    Ok(())
}

/// The endpoint's own errors come back through the tunnel, from the service.
#[test]
fn port_unreachable_of_an_endpoint_reaches_its_client_through_a_tunnel() -> Result<()> {
    let Some(mut site) = site(&[])? else { return Ok(()) };
    site.bed.servers.clear();
    for backend in [Backend::Pod((1, 1)), Backend::Pod((2, 1))] {
        site.lead_to(Some(backend))?;
        for family in Family::BOTH {
            let client = site.bed.cluster.outside();
            let error = request(client, Protocol::Udp, cluster_ip(family), SOON);
            let error = error.err().context("an answer")?;
            assert_eq!(error.kind(), Some(ErrorKind::ConnectionRefused), "{error}");
        }
    }
    assert!(site.bed.lb.counter("error_translated")? >= 4);
    Ok(())
}

#[test]
fn a_tunnel_has_tc_and_no_xdp_and_that_is_said() -> Result<()> {
    let Some(site) = site(&[])? else { return Ok(()) };
    let status = site.bed.lb.status()?;
    let attached = status["attached"].as_array().context("what is attached")?;
    let points: Vec<_> =
        attached.iter().filter(|one| one["interface"] == "tun0").map(|one| &one["point"]).collect();
    assert_eq!(points, ["uplink-in", "uplink-out"], "{status:#}");
    assert!(status["notes"].to_string().contains("tun0 has no link layer: no XDP"), "{status:#}");
    Ok(())
}
