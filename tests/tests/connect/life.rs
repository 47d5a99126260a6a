//! What outlives what: a killed `lb`, a stop, and sockets that are closed.

use std::{
    fs,
    mem::MaybeUninit,
    net::UdpSocket,
    path::{Path, PathBuf},
};

use anyhow::Result;
use aya::maps::MapData;
use lb_tests::{
    echo::{self, NODE_PORT, cluster_ip, node_port},
    lab::{Cgroup, cast::Family},
    process::LoadBalancer,
};
use nix::errno::Errno;
use socket2::Socket;

use crate::{
    Seen,
    client::{Clients as _, Form, Way, ask_from, ask_over},
    common::{BACKENDS, Bed, binary, run_arguments},
};

fn maps(instance: &str) -> PathBuf {
    Path::new("/sys/fs/bpf").join(instance).join("v1/maps")
}

/// How many entries the maps of sockets have.
fn entries(instance: &str) -> Result<usize> {
    let mut count = 0;
    for name in ["SOCKETS_V4", "SOCKETS_V6", "TALKS_V4", "TALKS_V6"] {
        let map = aya::maps::Map::LruHashMap(MapData::from_pin(maps(instance).join(name))?);
        count += match name {
            "SOCKETS_V4" | "TALKS_V4" => {
                aya::maps::HashMap::<_, [u8; 20], [u8; 20]>::try_from(map)?.keys().count()
            }
            _ => aya::maps::HashMap::<_, [u8; 32], [u8; 32]>::try_from(map)?.keys().count(),
        };
    }
    Ok(count)
}

#[test]
fn closed_sockets_leave_nothing_behind() -> Result<()> {
    let seen = Seen::standard()?;
    let instance = seen.bed.lb.instance();
    let node = seen.bed.cluster.node(1);
    let mut open = Vec::new();
    for form in Form::ALL {
        for way in [Way::Tcp, Way::ConnectedUdp] {
            open.push(seen.connected(node, form, way, cluster_ip(form.family()))?);
        }
        let socket = UdpSocket::from(seen.socket(node, form, Way::Udp)?);
        for target in [cluster_ip(form.family()), node_port(form.family())] {
            ask_from(&socket, form, target)?;
        }
        open.push(socket.into());
    }
    assert!(entries(instance)? >= open.len(), "{}", entries(instance)?);
    drop(open);
    assert_eq!(entries(instance)?, 0);
    for _ in 0..200 {
        for form in Form::ALL {
            for way in Way::ALL {
                seen.ask(node, form, way, (form.loopback(), NODE_PORT).into())?;
            }
        }
    }
    assert_eq!(entries(instance)?, 0);
    Ok(())
}

#[test]
fn a_udp_socket_that_is_connected_anew_has_one_entry() -> Result<()> {
    let seen = Seen::standard()?;
    for form in Form::ALL {
        let target = form.of(cluster_ip(form.family()));
        let socket = seen.socket(seen.bed.cluster.node(1), form, Way::ConnectedUdp)?;
        for _ in 0..20 {
            socket.connect(&target.into())?;
            assert_eq!(ask_over(&socket, Way::ConnectedUdp)?.peers, [target, target]);
            assert_eq!(entries(seen.bed.lb.instance())?, 1, "{form:?}");
        }
        drop(socket);
    }
    assert_eq!(entries(seen.bed.lb.instance())?, 0);
    Ok(())
}

#[test]
fn after_a_kill_sockets_are_served_and_the_next_start_takes_over_in_place() -> Result<()> {
    let Seen { bed, cgroup } = Seen::standard()?;
    let Bed { lb, servers, manifests, service, cluster } = bed;
    let (node, target) = (cluster.node(1), cluster_ip(Family::V4));
    let ask = || cgroup.ask(node, Form::V4, Way::Tcp, target);
    let instance = lb.kill()?;
    let links = || fs::read_dir(format!("/sys/fs/bpf/{instance}/v1/sockets")).map(Iterator::count);
    assert_eq!(links()?, 11);
    let mut old = Vec::new();
    for _ in 0..24 {
        let socket = cgroup.connected(node, Form::V4, Way::Tcp, target)?;
        let learnt = ask_over(&socket, Way::Tcp)?;
        assert_eq!(learnt.peers, [target], "nobody is there, and sockets are served");
        old.push((socket, learnt.name));
    }

    manifests.write_endpoints(&service, &echo::endpoints(&BACKENDS[..1]))?;
    let arguments = run_arguments(&manifests, &["--cgroup", cgroup.argument()]);
    let mut lb = LoadBalancer::start_as(&instance, node, binary(), &arguments)?;
    assert_eq!(links()?, 11);
    let stays = echo::name(BACKENDS[0]);
    for (socket, name) in &old {
        if *name == stays {
            assert_eq!(socket.peer_addr()?.as_socket(), Some(target), "what was known is known");
        } else {
            is_destroyed(socket);
        }
    }
    for _ in 0..10 {
        assert_eq!(ask()?.name, stays);
    }
    drop(old);
    assert_eq!(entries(&instance)?, 0);
    lb.kill()?;

    // At another cgroup, nothing stays at the first one.
    let other = Cgroup::make()?;
    let arguments = run_arguments(&manifests, &["--cgroup", other.argument()]);
    lb = LoadBalancer::start_as(&instance, node, binary(), &arguments)?;
    assert_eq!(links()?, 11);
    let count = || lb.counter("socket_translated");
    let before = count()?;
    other.ask(node, Form::V4, Way::Tcp, target)?;
    assert_eq!(count()?, before + 1);
    let loopback = (Form::V4.loopback(), NODE_PORT).into();
    assert!(cgroup.connected(node, Form::V4, Way::Tcp, loopback).is_err());
    assert_eq!(count()?, before + 1);
    assert!(lb.stop()?.success(), "{}", lb.log());
    assert!(other.connected(node, Form::V4, Way::Tcp, loopback).is_err(), "nobody is there");
    drop(servers);
    Ok(())
}

/// It waits, and is woken by the error: its endpoint, which was removed, sends nothing.
#[track_caller]
fn is_destroyed(socket: &Socket) {
    let error = socket.recv(&mut [MaybeUninit::uninit(); 16]).expect_err("its endpoint is gone");
    assert_eq!(error.raw_os_error(), Some(Errno::ECONNABORTED as i32), "{error}");
}

#[test]
fn sockets_of_a_removed_endpoint_see_an_error_at_once_and_others_go_on() -> Result<()> {
    let seen = Seen::standard()?;
    let places = [seen.bed.cluster.node(1), seen.bed.cluster.pod(1, 3)];
    let mut sockets = Vec::new();
    for (place, form) in places.into_iter().flat_map(|place| Form::ALL.map(|form| (place, form))) {
        for way in [Way::Tcp, Way::ConnectedUdp] {
            for _ in 0..4 {
                let target = form.of(cluster_ip(form.family()));
                let socket = seen.cgroup.connected(place, form, way, target)?;
                let name = ask_over(&socket, way)?.name;
                sockets.push((socket, form, way, name));
            }
        }
    }
    let stays = echo::name(BACKENDS[0]);
    let lost = sockets.iter().filter(|(.., name)| *name != stays).count();
    assert!((1..sockets.len()).contains(&lost), "some of {} are to go: {lost}", sockets.len());

    seen.bed.set_backends(&BACKENDS[..1])?;
    for (socket, form, way, name) in &sockets {
        if *name == stays {
            assert_eq!(ask_over(socket, *way)?.name, stays, "{form:?} {way:?}");
        } else {
            is_destroyed(socket);
        }
    }
    seen.bed.lb.wait_for("the destroyed sockets are told", |status| {
        status["sockets"]["destroyed"] == lost
    })?;
    Ok(())
}
