//! The peers do what they are compared for: their rules balance, masquerade where kube-proxy does, and follow a change;
//! and `lb` is told of the same services. Needs root, nft and iptables. (IPVS needs a kernel that has it: its text is
//! tested beside the code.)

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use lb_tests::{
    bench::peers::{Peer, Service, Setup},
    echo::{self, BACKEND_PORT, Pod, name},
    lab::{
        Cluster, Namespace,
        cast::{self, Family, Host, NODE1, OUTSIDE},
    },
    manifests::Manifests,
    traffic::{EchoServer, Error, Protocol, assert_fair, many, request},
};
use lb_userspace::{compile, source::manifests::ManifestSource};

const SOON: Duration = Duration::from_secs(5);
const PEERS: [Peer; 2] = [Peer::Nftables, Peer::Iptables];
const BACKENDS: [Pod; 3] = [(1, 1), (1, 2), (1, 3)];
/// A pod that serves nothing.
const CLIENT: Pod = (1, 4);

/// A node with pods behind it, of which some serve, and an outside that knows the way to cluster IPs.
struct Bed {
    // In the order in which they have to go.
    _servers: Vec<EchoServer>,
    cluster: Cluster,
}

impl Bed {
    fn start() -> Result<Self> {
        let cluster = Cluster::builder().nodes(1).pods(4).start()?;
        let servers = BACKENDS.iter().map(|pod| echo::serve(&cluster, *pod));
        let servers = servers.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let (v4, v4_length) = cast::SERVICE_NETWORK_V4;
        let (v6, v6_length) = cast::SERVICE_NETWORK_V6;
        let routes = |gateway: Host| {
            format!(
                "route add {v4}/{v4_length} via {}\nroute add {v6}/{v6_length} via {}\n",
                gateway.v4, gateway.v6
            )
        };
        cluster.outside().ip(&routes(NODE1))?;
        // Where what nobody translates goes and gets lost, as on a default route.
        cluster.node(1).ip(&routes(OUTSIDE))?;
        Ok(Self { _servers: servers, cluster })
    }

    fn node(&self) -> &Namespace {
        self.cluster.node(1)
    }

    fn client(&self) -> &Namespace {
        self.cluster.pod(CLIENT.0, CLIENT.1)
    }
}

/// So many services, each for both families and protocols, with these pods behind each.
fn setup(services: u8, backends: &[Pod]) -> Setup {
    let mut all = Vec::new();
    for number in 1..=services {
        for family in Family::BOTH {
            for protocol in Protocol::BOTH {
                all.push(service(number, family, protocol, backends));
            }
        }
    }
    let pods: [(IpAddr, u8); 2] =
        [([10, 244, 0, 0].into(), 16), ([0xfd00, 0x244, 0, 0, 0, 0, 0, 0].into(), 32)];
    Setup {
        node_addresses: Family::BOTH.map(|family| NODE1.ip(family)).to_vec(),
        cluster_cidrs: pods.to_vec(),
        services: all,
    }
}

fn service(number: u8, family: Family, protocol: Protocol, backends: &[Pod]) -> Service {
    let listens = |pod: &Pod| cast::pod(pod.0, pod.1).socket(family, BACKEND_PORT);
    Service {
        name: format!("service-{number}"),
        protocol,
        address: cast::service(family, number),
        port: echo::PORT,
        node_port: Some(30_000 + u16::from(number)),
        endpoints: backends.iter().map(listens).collect(),
    }
}

/// One of very many, told apart by their ports.
fn numbered(port: u16, family: Family) -> Service {
    let one = service(1, family, Protocol::Tcp, &BACKENDS[..1]);
    Service { name: format!("service-{port}"), port, node_port: None, ..one }
}

fn cluster_ip(service: &Service) -> SocketAddr {
    SocketAddr::new(service.address, service.port)
}

fn node_port(service: &Service) -> Option<SocketAddr> {
    let family = Family::of(service.address);
    service.node_port.map(|port| NODE1.socket(family, port))
}

/// Asks so often, and returns who answered.
fn ask(
    client: &Namespace,
    service: &Service,
    target: SocketAddr,
    times: u32,
) -> Result<BTreeSet<String>> {
    (0..times).map(|_| Ok(request(client, service.protocol, target, SOON)?.name)).collect()
}

#[test]
fn every_service_is_answered_at_its_cluster_ip_and_its_node_port() -> Result<()> {
    for peer in PEERS {
        for services in [1, 50] {
            let bed = Bed::start()?;
            let setup = setup(services, &BACKENDS);
            let took = peer.load(bed.node(), &setup)?;
            eprintln!("{peer:?}: {services} services in {took:?}");
            for service in &setup.services {
                let node_port = node_port(service).expect("all have one");
                ask(bed.client(), service, cluster_ip(service), 1)?;
                ask(bed.cluster.outside(), service, node_port, 1)?;
                ask(bed.client(), service, node_port, 1)?;
            }
        }
    }
    Ok(())
}

#[test]
fn each_endpoint_has_its_share() -> Result<()> {
    let names = BACKENDS.map(name);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for peer in PEERS {
        let bed = Bed::start()?;
        let setup = setup(3, &BACKENDS);
        peer.load(bed.node(), &setup)?;
        for service in &setup.services {
            let tally = many(bed.client(), service.protocol, cluster_ip(service), 300, 8);
            tally.assert_all_answered();
            assert_fair(&tally, &names);
        }
    }
    Ok(())
}

#[test]
fn who_comes_by_a_node_port_or_is_no_pod_is_masqueraded_and_a_pod_is_not() -> Result<()> {
    for peer in PEERS {
        let bed = Bed::start()?;
        let setup = setup(2, &BACKENDS);
        peer.load(bed.node(), &setup)?;
        for service in &setup.services {
            let family = Family::of(service.address);
            let seen = |client, target| -> Result<IpAddr> {
                Ok(request(client, service.protocol, target, SOON)?.peer.ip())
            };
            let node_port = node_port(service).expect("all have one");
            let (node, pod) = (NODE1.ip(family), cast::pod(CLIENT.0, CLIENT.1).ip(family));
            assert_eq!(seen(bed.client(), cluster_ip(service))?, pod, "{peer:?} {service:?}");
            for (client, target) in [
                (bed.cluster.outside(), node_port),
                (bed.cluster.outside(), cluster_ip(service)),
                (bed.client(), node_port),
            ] {
                assert_eq!(seen(client, target)?, node, "{peer:?} {target} {service:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_pod_reaches_itself() -> Result<()> {
    for peer in PEERS {
        let bed = Bed::start()?;
        let setup = setup(1, &BACKENDS[..1]);
        peer.load(bed.node(), &setup)?;
        for service in &setup.services {
            let answered = ask(bed.cluster.pod(1, 1), service, cluster_ip(service), 1)?;
            assert_eq!(answered, BTreeSet::from([name((1, 1))]), "{peer:?} {service:?}");
        }
    }
    Ok(())
}

#[test]
fn an_endpoint_that_a_change_removes_is_no_longer_chosen_until_one_brings_it_back() -> Result<()> {
    // Among many endpoints too, where iptables leaves what nothing leads to any more.
    for (peer, services) in [(Peer::Nftables, 2), (Peer::Iptables, 2), (Peer::Iptables, 200)] {
        let bed = Bed::start()?;
        let before = setup(services, &BACKENDS);
        peer.load(bed.node(), &before)?;
        let mut after = before.clone();
        for service in &mut after.services[..4] {
            service.endpoints.remove(1);
        }
        for (from, to, expected) in
            [(&before, &after, [0, 2].as_slice()), (&after, &before, &[0, 1, 2])]
        {
            let took = peer.change(bed.node(), from, to)?;
            eprintln!("{peer:?}: a change of four among {services} × 4 in {took:?}");
            let expected = expected.iter().map(|index| name(BACKENDS[*index])).collect();
            let all: BTreeSet<_> = BACKENDS.map(name).into();
            for service in &to.services[..4] {
                let node_port = node_port(service).expect("all have one");
                for (client, target) in
                    [(bed.client(), cluster_ip(service)), (bed.cluster.outside(), node_port)]
                {
                    let answered = ask(client, service, target, 60)?;
                    assert_eq!(answered, expected, "{peer:?} {target}");
                }
            }
            let other = &to.services[4];
            assert_eq!(ask(bed.client(), other, cluster_ip(other), 60)?, all, "{peer:?}");
        }
    }
    Ok(())
}

#[test]
fn a_service_without_endpoints_refuses_and_one_that_gets_some_answers() -> Result<()> {
    for peer in PEERS {
        let bed = Bed::start()?;
        let (with, mut without) = (setup(2, &BACKENDS), setup(2, &BACKENDS));
        for service in &mut without.services[..4] {
            service.endpoints.clear();
        }
        peer.load(bed.node(), &without)?;
        let refused = |service: &Service| -> Result<()> {
            let node_port = node_port(service).expect("all have one");
            for (client, target) in
                [(bed.client(), cluster_ip(service)), (bed.cluster.outside(), node_port)]
            {
                let answer = request(client, service.protocol, target, SOON);
                let refused = matches!(&answer, Err(Error::Failed { source, .. })
                    if source.kind() == io::ErrorKind::ConnectionRefused);
                ensure!(refused, "{peer:?} {target}: {answer:?}");
            }
            Ok(())
        };
        let empty = || without.services[..4].iter();
        empty().try_for_each(refused)?;
        peer.change(bed.node(), &without, &with)?;
        for service in &with.services[..4] {
            ask(bed.client(), service, cluster_ip(service), 1)?;
        }
        peer.change(bed.node(), &with, &without)?;
        empty().try_for_each(refused)?;
    }
    Ok(())
}

#[test]
fn what_is_installed_soon_is_what_is_loaded_at_once() -> Result<()> {
    // More services than come in one transaction when it is to be soon.
    let mut setup = setup(1, &BACKENDS);
    setup.services =
        (1..=1100).flat_map(|port| Family::BOTH.map(|family| numbered(port, family))).collect();
    for (peer, listing) in [
        (Peer::Nftables, ["nft", "list", "ruleset"].as_slice()),
        (Peer::Iptables, &["iptables-save"]),
        (Peer::Iptables, &["ip6tables-save"]),
    ] {
        let (at_once, soon) = (Bed::start()?, Bed::start()?);
        peer.load(at_once.node(), &setup)?;
        peer.install(soon.node(), &setup)?;
        let [at_once, soon] = [at_once, soon].map(|bed| listed(bed.node(), listing));
        let (at_once, soon) = (at_once?, soon?);
        assert!(at_once.len() > 1100 * 3, "{at_once:?}");
        // Without printing all of it.
        assert!(at_once == soon, "{peer:?}: {:?}", at_once.symmetric_difference(&soon).next());
    }
    Ok(())
}

/// All rules, with the chains that they are in, whatever order the chains have.
fn listed(namespace: &Namespace, command: &[&str]) -> Result<BTreeSet<String>> {
    let text = namespace.output(command[0], &command[1..])?;
    let mut chain = "";
    let mut rules = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with("chain") {
            chain = line;
        }
        rules.insert(format!("{chain} {line}"));
    }
    Ok(rules)
}

#[test]
fn a_tool_that_refuses_says_why() -> Result<()> {
    let bed = Bed::start()?;
    let mut setup = setup(1, &BACKENDS);
    for service in &mut setup.services {
        service.name = "no such { name".to_owned();
    }
    for peer in PEERS {
        let error = peer.load(bed.node(), &setup).expect_err("no rules can be made of this");
        let text = format!("{error:#}");
        assert!(text.contains("ended with") && text.lines().count() > 1, "{text}");
    }
    Ok(())
}

/// Where a service is, protocol included, and where that leads.
type Lead = (BTreeSet<(String, SocketAddr)>, BTreeSet<SocketAddr>);

/// What `lb` makes of the manifests.
fn leads_of_lb(setup: &Setup) -> Result<BTreeSet<Lead>> {
    let manifests = Manifests::new()?;
    manifests.write("services.json", &setup.manifests())?;
    let (snapshot, _source) = ManifestSource::open(manifests.path())?;
    let model = snapshot.without_problems()?.model;
    let node_addresses = setup.node_addresses.iter().copied().collect();
    let desired =
        compile::compile(&model, &compile::NodeFacts { node_addresses, ..Default::default() });
    let lead = |service: &compile::DesiredService| {
        // What no address in particular has is for sockets.
        let of_packets = service.frontends.keys().filter(|one| !one.address.is_unspecified());
        let at = of_packets.map(|frontend| {
            let protocol = format!("{:?}", frontend.protocol).to_uppercase();
            (protocol, SocketAddr::new(frontend.address, frontend.port))
        });
        let to = service.backends.keys().map(|key| SocketAddr::new(key.address, key.port));
        (at.collect(), to.collect())
    };
    Ok(desired.services.values().map(lead).collect())
}

#[test]
fn lb_is_told_of_the_same_services() -> Result<()> {
    let mut setup = setup(3, &BACKENDS);
    let pods: Vec<Pod> = (1..=250).map(|pod| (2, pod)).collect();
    setup.services.extend([
        service(4, Family::V6, Protocol::Udp, &pods),
        Service { node_port: None, ..service(5, Family::V4, Protocol::Tcp, &[]) },
    ]);
    setup.services[1].endpoints[2].set_port(9090);
    let lead = |service: &Service| -> Lead {
        let at = [Some(cluster_ip(service)), node_port(service)].into_iter().flatten();
        let at = at.map(|address| (service.protocol.to_string(), address)).collect();
        (at, service.endpoints.iter().copied().collect())
    };
    assert_eq!(leads_of_lb(&setup)?, setup.services.iter().map(lead).collect());
    Ok(())
}
