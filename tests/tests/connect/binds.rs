//! Node ports that processes of the node try to bind.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use lb_tests::{
    echo::{NODE_PORT, cluster_ip},
    lab::{
        Namespace,
        cast::{Family, NODE1},
    },
};
use lb_userspace::dataplane::Features;

use crate::{
    Seen,
    client::{Clients as _, Form, Way},
};

fn bind(seen: &Seen, namespace: &Namespace, form: Form, way: Way, at: SocketAddr) -> Option<i32> {
    let socket = seen.socket(namespace, form, way).unwrap();
    socket.bind(&form.of(at).into()).err().and_then(|error| error.raw_os_error())
}

#[test]
fn no_process_of_the_node_gets_a_node_port_and_the_log_says_who_tried() -> Result<()> {
    let seen = Seen::standard()?;
    let node = seen.bed.cluster.node(1);
    let errno = if Features::tried()?.retval { libc::EADDRINUSE } else { libc::EPERM };
    let v4 = |ip: Ipv4Addr| SocketAddr::from((ip, NODE_PORT));
    let v6 = |ip: Ipv6Addr| SocketAddr::from((ip, NODE_PORT));
    let mut refused = 0;
    for way in [Way::Tcp, Way::Udp] {
        for (form, at) in [
            (Form::V4, v4(Ipv4Addr::UNSPECIFIED)),
            (Form::V4, v4(Ipv4Addr::LOCALHOST)),
            (Form::V4, v4(NODE1.v4)),
            (Form::Mapped, v4(NODE1.v4)),
            (Form::V6, v6(Ipv6Addr::UNSPECIFIED)),
            (Form::V6, v6(Ipv6Addr::LOCALHOST)),
            (Form::V6, v6(NODE1.v6)),
        ] {
            assert_eq!(bind(&seen, node, form, way, at), Some(errno), "{form:?} {way:?} {at}");
            refused += 1;
        }
    }
    assert_eq!(seen.counter("bind_refused")?, refused);
    let pid = format!("process={}", std::process::id());
    for words in ["that is a node port of a Service", "port=30080", &pid, "command="] {
        seen.bed.lb.wait_for_log(words)?;
    }
    Ok(())
}

#[test]
fn pods_and_other_ports_are_bound_as_ever() -> Result<()> {
    let seen = Seen::standard()?;
    let (node, pod) = (seen.bed.cluster.node(1), seen.bed.cluster.pod(1, 3));
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    for way in [Way::Tcp, Way::Udp] {
        assert_eq!(bind(&seen, pod, Form::V4, way, any(NODE_PORT)), None, "{way:?} in a pod");
        assert_eq!(bind(&seen, node, Form::V4, way, any(NODE_PORT + 1)), None, "{way:?}");
        // A Service's port, and no node port.
        let port = cluster_ip(Family::V4).port();
        assert_eq!(bind(&seen, node, Form::V4, way, any(port)), None, "{way:?} {port}");
    }
    assert_eq!(seen.counter("bind_refused")?, 0);
    Ok(())
}
