//! The maps after any changes: as if only the last state had ever been. A second writer, which knows nothing but
//! what it finds in the maps, has nothing to write.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use lb_userspace::{
    compile::{Compiler, Desired, NodeFacts, Touched},
    dataplane::{Changes, Sizes, Writer, read_back},
    model::{
        Endpoint, EndpointPort, EndpointSlice, Family, Hints, Model, Pods, Port, Protocol,
        Proxying, Service, ServiceName, ServicePort, ServiceType, SliceName, TargetPort, Traffic,
        TrafficPolicy, Wishes,
    },
};

use crate::bed::Bed;

const SERVICES: u8 = 6;
const STEPS: u32 = 150;

fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}

fn address(v6: bool, net: u8, host: u8) -> IpAddr {
    let text = if v6 { format!("fd00:{net}::{host}") } else { format!("10.{net}.0.{host}") };
    text.parse().expect("an address")
}

/// A Service with some of everything; several want the same external addresses and node ports.
fn service(rng: &mut Rng, name: u8) -> Service {
    let v6 = rng.bool();
    let shared = |rng: &mut Rng| (0..rng.u8(0..2)).map(|_| address(v6, 30, rng.u8(1..4))).collect();
    let number = |index: u16| ServicePort {
        name: Some(format!("p{index}")),
        protocol: Protocol::Tcp,
        port: port(80 + index),
        target: TargetPort::Number(port(8080)),
        node_port: None,
        app_protocol: None,
    };
    Service {
        name: ServiceName::new("default", format!("s{name}")),
        service_type: ServiceType::ClusterIp,
        proxying: if rng.u8(0..8) == 0 { Proxying::LeftAlone } else { Proxying::Here },
        cluster_ips: vec![address(v6, 20, name + 1)],
        ports: (0..rng.u16(1..3)).map(number).collect(),
        traffic: Traffic {
            external_policy: if rng.bool() { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            affinity: rng.bool().then_some(60),
            source_ranges: rng
                .bool()
                .then(|| {
                    if v6 { "2001:db8::/64" } else { "192.0.2.0/24" }.parse().expect("a range")
                })
                .into_iter()
                .collect(),
            load_balancer_ips: shared(rng),
            external_ips: shared(rng),
            ..Traffic::default()
        },
        pods: Pods::default(),
        wishes: Wishes::default(),
    }
}

fn slice(rng: &mut Rng, name: u8) -> EndpointSlice {
    let v6 = rng.bool();
    let endpoint = |host| Endpoint {
        address: address(v6, 1, host),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        zone: None,
        hints: Hints::default(),
        weight: 1,
    };
    let ports = (0..2_u16).map(|index| EndpointPort {
        name: Some(format!("p{index}")),
        protocol: Protocol::Tcp,
        port: port(8080 + index),
        app_protocol: None,
    });
    EndpointSlice {
        name: SliceName::new("default", format!("slice{name}")),
        service: Some(ServiceName::new("default", format!("s{}", rng.u8(0..SERVICES)))),
        family: if v6 { Family::V6 } else { Family::V4 },
        endpoints: (1..rng.u8(1..7)).map(endpoint).collect(),
        ports: ports.collect(),
    }
}

/// One object comes, changes or goes.
fn step(rng: &mut Rng, model: &Model) -> Model {
    let (mut services, mut slices) = (model.services.clone(), model.slices.clone());
    let (stays, name) = (rng.u8(0..5) > 0, rng.u8(0..SERVICES));
    if rng.bool() {
        let one = service(rng, name);
        services.remove(&one.name);
        services.extend(stays.then(|| (one.name.clone(), Arc::new(one))));
    } else {
        let one = slice(rng, name);
        slices.remove(&one.name);
        slices.extend(stays.then(|| (one.name.clone(), Arc::new(one))));
    }
    Model::assemble(services.into_values(), slices.into_values()).0
}

#[test]
fn after_any_changes_the_maps_say_what_is_desired_and_nothing_else() -> Result<()> {
    let mut bed = Bed::with(&Sizes::default(), |_| Ok(()))?;
    bed.apply(&Desired::default())?;
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let node = NodeFacts {
        node_addresses: [address(false, 20, 3), address(false, 40, 1)].into(),
        ..NodeFacts::default()
    };
    let (mut compiler, mut model) = (Compiler::default(), Arc::new(Model::default()));
    let mut writer = Writer::new(&bed.tables, read_back(&bed.tables)?)?;
    let mut whole = 0;
    for number in 0..STEPS {
        let told = || format!("seed {seed}, step {number}");
        model = Arc::new(step(&mut rng, &model));
        let touched = compiler.follow(&model, &node);
        whole += u32::from(touched == Touched::Everything);
        let desired = compiler.desired();
        writer.apply(&mut bed.tables, desired, &touched).with_context(told)?;

        let mut second = Writer::new(&bed.tables, read_back(&bed.tables)?)?;
        let found = second.apply(&mut bed.tables, desired, &Touched::Everything)?;
        let nothing = Changes { services: found.services, ..Changes::default() };
        assert_eq!(found, nothing, "{}", told());
        assert_eq!(found.services, desired.services.len(), "{}", told());
    }
    assert!((1..STEPS / 2).contains(&whole), "some changes are followed, some not: {whole}");
    Ok(())
}
