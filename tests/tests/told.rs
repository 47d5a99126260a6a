//! What clients and endpoints are told when something does not work, as their sockets see it. Needs root.

mod common;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use common::{BRIEFLY, Bed, SOON};
use lb_tests::{
    echo::{self, cluster_ip, name, node_port},
    lab::{
        Cluster,
        cast::{self, Family},
    },
    packet::Packet,
    patience::patient,
    traffic::{FrameSocket, Protocol, Session, ping, request},
};
use socket2::SockRef;

/// Both families and both protocols, from a pod by the cluster address and from the outside by the node port.
fn each(
    cluster: &Cluster,
    mut check: impl FnMut(&lb_tests::lab::Namespace, Protocol, std::net::SocketAddr) -> Result<()>,
) -> Result<()> {
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            check(cluster.pod(1, 3), protocol, cluster_ip(family))?;
            check(cluster.outside(), protocol, node_port(family))?;
        }
    }
    Ok(())
}

#[test]
fn a_service_without_endpoints_refuses_at_once() -> Result<()> {
    let offload_off = ["off", "on"];
    for offload in offload_off {
        let cluster = Cluster::start()?;
        for namespace in [cluster.pod(1, 3), cluster.outside()] {
            namespace.output("ethtool", &["-K", "eth0", "tx", offload])?;
        }
        let bed = Bed::start(cluster, &[], &[])?;
        each(&bed.cluster, |client, protocol, target| {
            let asked = Instant::now();
            let error = request(client, protocol, target, SOON).err().context("an answer")?;
            assert_eq!(error.kind(), Some(ErrorKind::ConnectionRefused), "{error}");
            assert!(asked.elapsed() < patient(SOON) / 2, "{error}");
            Ok(())
        })?;
        assert_eq!(bed.lb.counter("drop_no_backend")?, 8);
        assert_eq!(bed.lb.counter("answer_reset")?, 4);
        assert_eq!(bed.lb.counter("answer_unreachable")?, 4);
    }
    Ok(())
}

#[test]
fn when_its_endpoint_is_removed_a_connection_is_reset_and_the_next_one_goes_elsewhere() -> Result<()>
{
    let bed = Bed::start(Cluster::start()?, &[(1, 1), (2, 1)], &[])?;
    let _server = echo::serve(&bed.cluster, (1, 2))?;
    let mut sessions = Vec::new();
    for family in Family::BOTH {
        for (client, target) in [
            (bed.cluster.pod(1, 3), cluster_ip(family)),
            (bed.cluster.outside(), node_port(family)),
        ] {
            for _ in 0..4 {
                let mut session = Session::open(client, Protocol::Tcp, target, SOON)?;
                session.ask()?;
                sessions.push((session, client, target));
            }
        }
    }
    bed.manifests.write_endpoints(&bed.service, &echo::endpoints(&[(1, 2)]))?;
    bed.lb.wait_for("the other endpoint", |status| {
        let status = status.to_string();
        status.contains(&format!("{}:8080", cast::pod(1, 2).v4))
            && !status.contains(&format!("{}:8080", cast::pod(1, 1).v4))
    })?;
    for (mut session, client, target) in sessions {
        let asked = Instant::now();
        let error = session.ask().err().context("an answer of an endpoint that is gone")?;
        assert_eq!(error.kind(), Some(ErrorKind::ConnectionReset), "{error}");
        assert!(asked.elapsed() < patient(SOON) / 2, "{error}");
        assert_eq!(request(client, Protocol::Tcp, target, SOON)?.name, name((1, 2)));
    }
    Ok(())
}

/// Leaves the Service with this endpoint only, and waits until the kernel knows.
fn lead_to(bed: &Bed, (node, pod): echo::Pod) -> Result<()> {
    bed.manifests.write_endpoints(&bed.service, &echo::endpoints(&[(node, pod)]))?;
    let address = format!("{}:8080", cast::pod(node, pod).v4);
    let others = [(1, 1), (1, 2), (2, 2)].into_iter().filter(|other| *other != (node, pod));
    let others: Vec<_> =
        others.map(|(node, pod)| format!("{}:8080", cast::pod(node, pod).v4)).collect();
    bed.lb.wait_for("the endpoint", |status| {
        let services = status["services"].to_string();
        services.contains(&address) && !others.iter().any(|other| services.contains(other))
    })?;
    Ok(())
}

/// Its request was heard, it waits, and the answer comes when the endpoint is no endpoint any more: nothing that the
/// client does would tell it.
#[test]
fn a_client_that_only_listens_learns_with_the_answer_that_its_endpoint_was_removed() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    for (family, endpoint) in [(Family::V4, (1, 2)), (Family::V6, (2, 2))] {
        lead_to(&bed, endpoint)?;
        let address = cast::pod(endpoint.0, endpoint.1).socket(family, 8080);
        let listener =
            bed.cluster.pod(endpoint.0, endpoint.1).run(|| TcpListener::bind(address))??;
        // Also for who is to be accepted.
        SockRef::from(&listener).set_read_timeout(Some(patient(SOON)))?;
        let target = cluster_ip(family);
        let mut client = bed.cluster.pod(1, 3).run(|| TcpStream::connect(target))??;
        client.set_read_timeout(Some(patient(SOON)))?;
        client.write_all(b"a question")?;
        let (mut server, _) = listener.accept()?;
        server.read_exact(&mut [0; 10])?;
        lead_to(&bed, (1, 1))?;
        let before = bed.lb.counter("client_told")?;
        server.write_all(b"an answer")?;
        let error = client.read(&mut [0; 10]).err().context("an answer of nobody's endpoint")?;
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert_eq!(bed.lb.counter("client_told")?, before + 1);
    }
    Ok(())
}

/// One endpoint hears and says nothing. Whoever is sent there first gets another one within a second or two.
#[test]
fn connections_to_an_endpoint_that_does_not_answer_go_to_another() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1), (1, 2)], &[])?;
    bed.cluster
        .pod(1, 2)
        .ip("route replace blackhole 0.0.0.0/0\nroute del ::/0\nroute add blackhole ::/0")?;
    for family in Family::BOTH {
        for (client, target) in [
            (bed.cluster.pod(1, 3), cluster_ip(family)),
            (bed.cluster.outside(), node_port(family)),
        ] {
            let mut slow = 0;
            for _ in 0..12 {
                let asked = Instant::now();
                let answer = request(client, Protocol::Tcp, target, SOON)?;
                assert_eq!(answer.name, name((1, 1)));
                slow += u32::from(asked.elapsed() > Duration::from_millis(500));
            }
            assert!(slow > 0, "nobody was sent to the endpoint that says nothing");
        }
    }
    assert!(bed.lb.counter("another_tried")? >= 4);
    let status = bed.lb.status()?;
    let counters = status["services"].as_array().context("services")?;
    let unanswered: Vec<_> = counters
        .iter()
        .flat_map(|service| service["backendCounters"].as_array().into_iter().flatten())
        .filter(|backend| backend["unanswered"] != 0)
        .filter_map(|backend| backend["backend"].as_str())
        .collect();
    let silent = cast::pod(1, 2);
    assert_eq!(unanswered.len(), 2, "{unanswered:?}");
    for family in Family::BOTH {
        let address = silent.socket(family, 8080).to_string();
        assert!(unanswered.contains(&&*address), "{unanswered:?}");
    }
    Ok(())
}

/// Nobody listens there: the endpoint says so, and the client hears it from the service.
#[test]
fn port_unreachable_of_an_endpoint_reaches_its_client() -> Result<()> {
    for backend in [(1, 1), (2, 1)] {
        let mut bed = Bed::start(Cluster::start()?, &[backend], &[])?;
        bed.servers.clear();
        each(&bed.cluster, |client, protocol, target| {
            let error = request(client, protocol, target, SOON).err().context("an answer")?;
            assert_eq!(error.kind(), Some(ErrorKind::ConnectionRefused), "{error}");
            Ok(())
        })?;
        assert!(bed.lb.counter("error_translated")? >= 4);
    }
    Ok(())
}

/// The last link before the endpoint takes less than the others: its router says so, and is heard.
#[test]
fn connections_find_out_how_long_packets_on_their_way_may_be() -> Result<()> {
    for (node, pod) in [(1, 1), (2, 1)] {
        let bed = Bed::start(Cluster::start()?, &[(node, pod)], &[])?;
        let interface = cast::host_side(node, pod);
        bed.cluster.node(node).ip(&format!("link set dev {interface} mtu 1300"))?;
        for family in Family::BOTH {
            for (client, target) in [
                (bed.cluster.pod(1, 3), cluster_ip(family)),
                (bed.cluster.outside(), node_port(family)),
            ] {
                let mut session = Session::open(client, Protocol::Tcp, target, SOON)?;
                let answer = session.ask_with(&vec![b'x'; 200_000])?;
                assert_eq!(answer.name, name((node, pod)), "to {target}");
            }
        }
        assert!(bed.lb.counter("error_translated")? >= 4);
    }
    Ok(())
}

/// Longer than any packet: the first fragment has the ports, the others none.
#[test]
fn datagrams_that_come_in_fragments_arrive_whole() -> Result<()> {
    for backend in [(1, 1), (2, 1)] {
        let bed = Bed::start(Cluster::start()?, &[backend], &[])?;
        for family in Family::BOTH {
            for (client, target) in [
                (bed.cluster.pod(1, 3), cluster_ip(family)),
                (bed.cluster.outside(), node_port(family)),
            ] {
                let mut session = Session::open(client, Protocol::Udp, target, SOON)?;
                for length in [1_473, 4_000, 20_000] {
                    let answer = session.ask_with(&vec![b'x'; length])?;
                    assert_eq!(answer.name, name(backend), "{length} bytes to {target}");
                }
            }
        }
    }
    Ok(())
}

/// The fragments of a UDP packet with this payload.
fn fragments(packet: &Packet, payload: &[u8], id: u32) -> Vec<Vec<u8>> {
    const EACH: usize = 1_440;
    let whole = packet.clone().payload(payload).build();
    let datagram = &whole[whole.len() - payload.len() - 8..];
    let mut frames = Vec::new();
    for (number, content) in datagram.chunks(EACH).enumerate() {
        let more = EACH * (number + 1) < datagram.len();
        let offset = u16::try_from(EACH / 8 * number).expect("a datagram is shorter");
        if number > 0 {
            frames.push(packet.clone().payload(content).fragment(offset, more, id).build());
            continue;
        }
        let mut first = packet.clone().payload(&content[8..]).fragment(0, more, id).build();
        // The header is the whole datagram's.
        let header = first.len() - content.len();
        first[header..header + 8].copy_from_slice(&datagram[..8]);
        frames.push(first);
    }
    frames
}

/// Whatever order they come in: those that are there before the first one wait for it.
#[test]
fn fragments_to_a_service_may_come_in_any_order() -> Result<()> {
    for backend in [(1, 1), (2, 1)] {
        let bed = Bed::start(Cluster::start()?, &[backend], &[])?;
        let (pod, outside) = (cast::pod(1, 3), cast::OUTSIDE);
        for family in Family::BOTH {
            let target = cluster_ip(family);
            let route = format!("route add {} via {}", target.ip(), cast::NODE1.ip(family));
            bed.cluster.outside().ip(&route)?;
            for (namespace, host, next) in [
                (bed.cluster.pod(1, 3), pod, cast::gateway_mac(1, 3)),
                (bed.cluster.outside(), outside, cast::NODE1.mac),
            ] {
                let frames = FrameSocket::open(namespace, "eth0")?;
                for (number, order) in (0..).zip([[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]]) {
                    let asked = || -> std::io::Result<String> {
                        let client = {
                            let _inside = namespace.enter().map_err(std::io::Error::other)?;
                            UdpSocket::bind((host.ip(family), 0))?
                        };
                        client.set_read_timeout(Some(patient(SOON)))?;
                        let from = client.local_addr()?;
                        let packet = Packet::new(family)
                            .macs(host.mac, next)
                            .addresses(from.ip(), target.ip())
                            .ports(from.port(), target.port())
                            .udp();
                        let all = fragments(&packet, &[b'x'; 4_000], 0x1234 + number);
                        for which in order {
                            frames.send(&all[which])?;
                        }
                        let mut answer = [0; 100];
                        let length = client.recv(&mut answer)?;
                        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
                    };
                    let answer = asked().with_context(|| {
                        format!("{family:?}, {} to {backend:?}, order {number}", host.ip(family))
                    })?;
                    assert!(answer.starts_with(&name(backend)), "{answer}");
                }
            }
        }
        // Two, one and one of the three, from each of four clients.
        for counter in ["fragment_held", "fragment_released"] {
            assert_eq!(bed.lb.counter(counter)?, 16, "{counter}");
        }
        assert_eq!(bed.lb.counter("drop_fragment_alone")?, 0);
    }
    Ok(())
}

/// Whoever asks, a pod or the outside, and wherever the endpoint is.
#[test]
fn a_services_address_answers_echo_requests_while_it_has_an_endpoint() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(2, 1)], &[])?;
    let mut asked = Vec::new();
    for family in Family::BOTH {
        let (address, node) = (cluster_ip(family).ip(), cast::NODE1.ip(family));
        bed.cluster.outside().ip(&format!("route add {address} via {node}\n"))?;
        asked.extend([(bed.cluster.pod(1, 3), address), (bed.cluster.outside(), address)]);
    }
    for backends in [&[(2, 1)][..], &[], &[(1, 1), (2, 1)]] {
        bed.set_backends(backends)?;
        for (client, address) in &asked {
            let answer = ping(client, *address, if backends.is_empty() { BRIEFLY } else { SOON });
            let what = format!("{} asks {address}, endpoints {backends:?}", client.name());
            if backends.is_empty() {
                let error = answer.err().with_context(|| format!("{what}: an answer"))?;
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{what}: {error}");
            } else {
                answer.with_context(|| what)?;
            }
        }
    }
    assert_eq!(bed.lb.counter("answer_echo")?, 8);
    Ok(())
}
