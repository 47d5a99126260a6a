//! SCTP with real sockets, where the kernel has them. Needs root.

mod common;

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use common::{SOON, start_lb};
use lb_tests::{
    echo::{NODE_PORT, PORT},
    lab::{
        Cluster, Namespace,
        cast::{self, Family, NODE1, OUTSIDE},
    },
    manifests::Manifests,
    patience::patient,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Where endpoints listen.
const BACKEND_PORT: u16 = 3868;

/// A socket at an address; `None`: the kernel has no SCTP.
fn socket(at: SocketAddr) -> Result<Option<Socket>> {
    let socket = match Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::SCTP)) {
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(None),
        socket => socket?,
    };
    // At one address: an association is told of all that its socket has.
    socket.bind(&at.into())?;
    socket.set_read_timeout(Some(patient(SOON)))?;
    Ok(Some(socket))
}

/// A Service of each family with one endpoint.
fn manifests(family: Family, endpoint: SocketAddr) -> Result<Manifests> {
    let (name, address_type) = match family {
        Family::V4 => ("IPv4", "IPv4"),
        Family::V6 => ("IPv6", "IPv6"),
    };
    let (cluster_ip, ip) = (cast::service(family, 10), endpoint.ip());
    let manifests = Manifests::new()?;
    manifests.write(
        "diameter.yaml",
        &format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: diameter}}\nspec:\n  type: NodePort\n  \
             clusterIP: \"{cluster_ip}\"\n  ipFamilies: [{name}]\n  ports:\n  - {{protocol: SCTP, port: {PORT}, \
             targetPort: {BACKEND_PORT}, nodePort: {NODE_PORT}}}\n---\napiVersion: discovery.k8s.io/v1\n\
             kind: EndpointSlice\nmetadata:\n  name: diameter-1\n  labels: {{kubernetes.io/service-name: diameter}}\n\
             addressType: {address_type}\nports:\n- {{protocol: SCTP, port: {BACKEND_PORT}}}\nendpoints:\n\
             - addresses: [\"{ip}\"]\n"
        ),
    )?;
    Ok(manifests)
}

/// Opens an association, says something long, and hears it back.
fn talk(client: &Namespace, from: SocketAddr, target: SocketAddr) -> Result<()> {
    let said = vec![7; 20_000];
    let socket = client.run(|| socket(from))??.context("it was there a moment ago")?;
    let mut socket = socket;
    socket.connect_timeout(&target.into(), patient(SOON)).context("connecting")?;
    socket.write_all(&said).context("saying something")?;
    let mut heard = vec![0; said.len()];
    socket.read_exact(&mut heard).context("hearing it")?;
    ensure!(heard == said, "something else came back");
    Ok(())
}

/// Answers so many associations, one after the other, with what they say.
fn serve(listener: &Socket, associations: usize) -> io::Result<()> {
    for _ in 0..associations {
        let (mut socket, _) = listener.accept()?;
        let mut said = vec![0; 20_000];
        socket.read_exact(&mut said)?;
        socket.write_all(&said)?;
    }
    Ok(())
}

#[test]
fn pods_and_the_outside_reach_endpoints_here_and_elsewhere_with_and_without_checksum_offload()
-> Result<()> {
    for offload in [true, false] {
        let cluster = Cluster::builder().checksum_offload(offload).start()?;
        for family in Family::BOTH {
            for node in 1..=2 {
                let endpoint = cast::pod(node, 1).socket(family, BACKEND_PORT);
                let listener = cluster.pod(node, 1).run(|| socket(endpoint))??;
                let Some(listener) = listener else {
                    // Past libtest, which would keep it to itself.
                    writeln!(io::stdout(), "\nnot tested: SCTP, which this kernel has not")?;
                    return Ok(());
                };
                listener.listen(4)?;
                let manifests = manifests(family, endpoint)?;
                let lb = start_lb(&cluster, &manifests, &[])?;
                let cluster_ip = SocketAddr::new(cast::service(family, 10), PORT);
                let ways = [
                    // Without a Service, for comparison.
                    (cluster.pod(1, 3), cast::pod(1, 3), endpoint),
                    (cluster.pod(1, 3), cast::pod(1, 3), cluster_ip),
                    (cluster.outside(), OUTSIDE, NODE1.socket(family, NODE_PORT)),
                ];
                thread::scope(|scope| -> Result<()> {
                    let server = scope.spawn(|| serve(&listener, ways.len()));
                    for (client, host, target) in ways {
                        let from = host.socket(family, 0);
                        talk(client, from, target).with_context(|| {
                            let counters = lb.status().map(|status| status["counters"].clone());
                            format!(
                                "{from} to {target}, offload {offload}\n{counters:?}\n{}",
                                lb.log()
                            )
                        })?;
                    }
                    server.join().expect("a server")?;
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}
