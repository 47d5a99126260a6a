//! Sockets of processes in namespaces of their own: those that talk to a backend that is gone see an error at
//! once, others don't; and who listens on a node port is told. Needs root.

mod common;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use common::{Bed, SOON};
use lb_tests::{
    echo,
    lab::{
        self, Cluster,
        cast::{self, Family},
    },
    patience::patient,
};
use lb_userspace::{
    model::Protocol,
    sockets::{Destroyed, Lost, Namespace, destroy},
};
use socket2::SockRef;

/// Where the backends are.
const PORT: u16 = 9000;

/// Connected sockets to one backend, and the backend's own.
struct Talk {
    tcp: TcpStream,
    _accepted: TcpStream,
    udp: UdpSocket,
    _server: UdpSocket,
}

/// A client's connection to a server, over IPv6 sockets if `mapped`.
fn talk(
    client: &lab::Namespace,
    server: &lab::Namespace,
    target: SocketAddr,
    mapped: bool,
) -> Result<Talk> {
    let (listener, answering) = {
        let _inside = server.enter()?;
        (TcpListener::bind(target)?, UdpSocket::bind(target)?)
    };
    let shown = match (target.ip(), mapped) {
        (std::net::IpAddr::V4(address), true) => {
            SocketAddr::new(address.to_ipv6_mapped().into(), target.port())
        }
        _ => target,
    };
    let (tcp, udp) = {
        let _inside = client.enter()?;
        let any: SocketAddr = if shown.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let udp = UdpSocket::bind(any)?;
        udp.connect(shown)?;
        (TcpStream::connect_timeout(&shown, patient(SOON))?, udp)
    };
    let (accepted, _) = listener.accept()?;
    tcp.set_read_timeout(Some(patient(SOON)))?;
    udp.set_read_timeout(Some(patient(SOON)))?;
    Ok(Talk { tcp, _accepted: accepted, udp, _server: answering })
}

impl Talk {
    /// By which the kernel knows both.
    fn cookies(&self) -> Result<[u64; 2]> {
        Ok([SockRef::from(&self.tcp).cookie()?, SockRef::from(&self.udp).cookie()?])
    }

    /// Both work.
    fn assert_works(&mut self) -> Result<()> {
        self.tcp.write_all(b"x")?;
        self.udp.send(b"x")?;
        let mut buffer = [0; 1];
        self.tcp.set_nonblocking(true)?;
        assert_eq!(self.tcp.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        self.tcp.set_nonblocking(false)?;
        Ok(())
    }
}

/// What a reader that waits for an answer sees, and when.
fn error_of(read: impl FnOnce() -> std::io::Result<usize>) -> Result<Duration> {
    let begun = Instant::now();
    let error = read().err().context("no error")?;
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    Ok(begun.elapsed())
}

fn lost(protocol: Protocol, remote: SocketAddr) -> Lost {
    Lost { protocol, remote, terminating: false }
}

#[test]
fn sockets_to_a_backend_that_is_gone_see_it_at_once_in_every_namespace_and_others_do_not()
-> Result<()> {
    let cluster = Cluster::start()?;
    let (near, far) = (cluster.pod(1, 1), cluster.pod(1, 2));
    let at = |pod: u8, family| cast::pod(1, pod).socket(family, PORT);
    let server = |pod: u8| cluster.pod(1, pod);
    for (family, mapped) in [(Family::V4, false), (Family::V6, false), (Family::V4, true)] {
        let mut going = [
            talk(near, server(3), at(3, family), mapped)?,
            talk(far, server(1), at(1, family), mapped)?,
        ];
        let mut staying = talk(near, server(2), at(2, family), mapped)?;
        let gone = [at(3, family), at(1, family)];
        let lost = gone
            .map(|remote| [Protocol::Tcp, Protocol::Udp].map(|protocol| lost(protocol, remote)));
        // Other labs of this machine have the same addresses, so only these are destroyed.
        let mut wanted = Vec::new();
        for (one, remote) in going.iter().zip(gone) {
            let [tcp, udp] = one.cookies()?;
            wanted.extend([(Protocol::Tcp, tcp, remote), (Protocol::Udp, udp, remote)]);
        }
        let destroyed = destroy(&lost.concat(), &|protocol, cookie, remote| {
            wanted.contains(&(protocol, cookie, remote))
        })?;
        assert_eq!(
            (destroyed.tcp, destroyed.udp, destroyed.failed),
            (2, 2, 0),
            "{family:?} {mapped}"
        );
        assert!(destroyed.namespaces >= 4, "{destroyed:?}");
        for one in &mut going {
            let mut buffer = [0; 1];
            for took in
                [error_of(|| one.udp.recv(&mut buffer))?, error_of(|| one.tcp.read(&mut [0; 1]))?]
            {
                assert!(took < Duration::from_secs(1), "{took:?}");
            }
        }
        staying.assert_works()?;
    }
    Ok(())
}

#[test]
fn sockets_that_are_not_ours_and_tcp_to_a_terminating_backend_are_left_alone() -> Result<()> {
    let cluster = Cluster::start()?;
    let target = cast::pod(1, 3).socket(Family::V4, PORT);
    let mut one = talk(cluster.pod(1, 1), cluster.pod(1, 3), target, false)?;
    let both = [lost(Protocol::Tcp, target), lost(Protocol::Udp, target)];
    let none = destroy(&both, &|_, _, _| false)?;
    assert_eq!((none.tcp, none.udp), (0, 0));
    one.assert_works()?;
    let terminating = both.map(|lost| Lost { terminating: true, ..lost });
    let ours = one.cookies()?;
    let destroyed = destroy(&terminating, &|_, cookie, _| ours.contains(&cookie))?;
    assert_eq!((destroyed.tcp, destroyed.udp), (0, 1));
    error_of(|| one.udp.recv(&mut [0; 1]))?;
    one.tcp.write_all(b"x")?;
    assert_eq!(destroy(&[], &|_, _, _| true)?, Destroyed::default());
    Ok(())
}

/// A process with a socket of its own, that ends with this value.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_namespace_that_only_a_process_is_in_is_looked_through() -> Result<()> {
    let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn()?;
    let child = Listener(child);
    let deadline = Instant::now() + patient(SOON);
    let own = std::fs::read_link("/proc/self/ns/net")?;
    while std::fs::read_link(format!("/proc/{}/ns/net", child.0.id()))? == own {
        assert!(Instant::now() < deadline, "unshare did nothing");
    }
    let all = Namespace::all()?;
    let path = format!("/proc/{}/ns/net", child.0.id());
    assert!(all.iter().any(|one| one.path().to_str() == Some(&path)), "{path}: {all:?}");
    Ok(())
}

#[test]
fn who_listens_on_a_node_port_is_told_with_name_and_number() -> Result<()> {
    let bed = Bed::standard()?;
    let node = bed.cluster.node(1);
    let before = bed.lb.status()?;
    assert_eq!(before["listeners"], serde_json::json!([]));
    let (_tcp, _udp, _other, _mapped) = {
        let _inside = node.enter()?;
        (
            TcpListener::bind(cast::NODE1.socket(Family::V4, echo::NODE_PORT))?,
            UdpSocket::bind(("127.0.0.1", echo::NODE_PORT))?,
            TcpListener::bind(("0.0.0.0", echo::NODE_PORT + 1))?,
            TcpListener::bind((Ipv6Addr::LOCALHOST, echo::NODE_PORT))?,
        )
    };
    let status = bed.lb.status()?;
    let pid = std::process::id();
    let listeners = status["listeners"].as_array().context("listeners")?;
    let shown: Vec<_> = listeners
        .iter()
        .map(|one| {
            let process = &one["processes"][0];
            assert_eq!(process["pid"], pid, "{one}");
            assert!(
                process["name"].as_str().is_some_and(|name| name.starts_with("sockets")),
                "{one}"
            );
            format!(
                "{} {}",
                one["protocol"].as_str().unwrap_or("?"),
                one["address"].as_str().unwrap_or("?")
            )
        })
        .collect();
    assert_eq!(shown, ["TCP 192.0.2.1:30080", "TCP [::1]:30080", "UDP 127.0.0.1:30080"]);
    Ok(())
}
