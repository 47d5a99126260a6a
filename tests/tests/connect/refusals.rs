//! Where there is no endpoint: what `connect` and `sendto` fail with.

use std::{fs, io, net::UdpSocket};

use anyhow::Result;
use lb_tests::echo::cluster_ip;
use lb_userspace::dataplane::Features;

use crate::{
    Seen,
    client::{Clients as _, Form, Way},
    common::BACKENDS,
};

/// What the kernel lets a program say, or else EPERM.
fn expected(errno: i32) -> Result<i32> {
    Ok(if Features::tried()?.retval { errno } else { libc::EPERM })
}

fn refusal(seen: &Seen, form: Form, way: Way) -> io::Error {
    let (node, target) = (seen.bed.cluster.node(1), cluster_ip(form.family()));
    if way == Way::Udp {
        let socket = UdpSocket::from(seen.socket(node, form, way).unwrap());
        return socket.send_to(b"hello\n", form.of(target)).unwrap_err();
    }
    seen.connected(node, form, way, target).unwrap_err()
}

fn check(seen: &Seen, errno: i32, counter: &str) -> Result<()> {
    let mut count = 0;
    for form in Form::ALL {
        for way in Way::ALL {
            let error = refusal(seen, form, way);
            assert_eq!(error.raw_os_error(), Some(expected(errno)?), "{form:?} {way:?}: {error}");
            count += 1;
            assert_eq!(seen.counter(counter)?, count, "{form:?} {way:?}");
        }
    }
    Ok(())
}

#[test]
fn without_endpoints_sockets_are_refused() -> Result<()> {
    let seen = Seen::start(&[], &[])?;
    check(&seen, libc::ECONNREFUSED, "drop_no_backend")
}

#[test]
fn where_a_policy_leaves_no_endpoint_there_is_no_way() -> Result<()> {
    let seen = Seen::start(&[(2, 1)], &["--node-name", "node1"])?;
    let service = &seen.bed.service;
    let yaml = service.to_yaml().replacen("spec:\n", "spec:\n  internalTrafficPolicy: Local\n", 1);
    seen.bed.manifests.write(&format!("{}.yaml", service.name), &yaml)?;
    seen.bed.lb.wait_for("the policy", |status| {
        let services = status["services"].as_array();
        services.is_some_and(|services| {
            services.iter().all(|one| one["internal"]["otherwise"] == "dropped")
        })
    })?;
    check(&seen, libc::EHOSTUNREACH, "drop_no_local_backend")
}

#[test]
fn what_is_no_cgroup_is_refused_and_what_is_one_is_shown() -> Result<()> {
    let seen = Seen::start(&BACKENDS, &[])?;
    let status = seen.bed.lb.status()?;
    assert_eq!(status["sockets"]["cgroup"], seen.cgroup.argument());
    assert_eq!(status["sockets"]["programs"].as_array().map(Vec::len), Some(11));
    let manifests = seen.bed.manifests.path().to_str().unwrap();
    let instance = lb_tests::process::fresh_instance();
    let cluster = &seen.bed.cluster;
    let mut command =
        lb_tests::process::lb(cluster.node(2), crate::common::binary(), "run", &instance);
    command.args(["--manifests", manifests, "--uplink", "eth0", "--cgroup", "/proc"]);
    let output = command.output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--cgroup /proc: that is no cgroup of version 2"), "{said}");
    assert!(!fs::exists(format!("/sys/fs/bpf/{instance}"))?);
    Ok(())
}
