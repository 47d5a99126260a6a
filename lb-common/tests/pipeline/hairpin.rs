//! A pod that reaches itself by a service address: it can't be its own peer, so its peer is the
//! service, and packets turn around at its interface.

use lb_common::{
    addr::Port,
    verdict::{Event, Verdict},
};
use lb_tests::{
    lab::cast::gateway_mac,
    packet::{Packet, flags},
};

use crate::{
    traffic::{POD_IN, between, carrying, each, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, POD, SNAT_PORTS, World},
};

#[test]
fn a_pod_that_is_its_own_backend_talks_to_the_service_both_ways() {
    for front in Front::ALL {
        each(|family, l4| {
            let world = World::new(&[POD]);
            let (client, service) = (POD.socket(family, CLIENT_PORT), front.socket(family));
            let backend = POD.socket(family, BACKEND_PORT);
            let gateway = gateway_mac(1, 1);

            let question = request(family, l4, POD, front).macs(POD.mac, gateway);
            let sent = world.send(POD_IN, &question);
            let (source, _) = sent.tuple();
            assert_eq!(source.ip(), service.ip());
            assert!(SNAT_PORTS.contains(Port::from_host(source.port())));
            sent.is(
                Ok(Verdict::Transmit(POD_IN.ifindex)),
                &between(question, source, backend).macs(gateway, POD.mac).ttl(63),
                &[Event::FlowCreated as u32],
            );

            let answer = between(Packet::new(family), backend, source).macs(POD.mac, gateway);
            let answer = carrying(answer, l4, flags::SYN_ACK).payload(b"answer");
            world.send(POD_IN, &answer).is(
                Ok(Verdict::Transmit(POD_IN.ifindex)),
                &between(answer.clone(), service, client).macs(gateway, POD.mac).ttl(63),
                &[],
            );
        });
    }
}
