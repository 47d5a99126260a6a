//! What holds for any slices.

use proptest::prelude::*;

use super::*;

fn any_condition() -> impl Strategy<Value = (bool, bool, bool)> {
    (any::<bool>(), any::<bool>(), any::<bool>())
}

fn any_slices() -> impl Strategy<Value = Vec<EndpointSlice>> {
    let endpoint = (0..12u8, any_condition());
    let endpoints = proptest::collection::vec(endpoint, 0..6);
    let slices = proptest::collection::vec((endpoints, 8080..8083u16), 0..5);
    slices.prop_map(|slices| {
        let one = |(index, (endpoints, port)): (usize, (Vec<(u8, _)>, u16))| {
            let texts: Vec<_> =
                endpoints.into_iter().map(|(host, c)| (format!("10.1.0.{host}"), c)).collect();
            let endpoints: Vec<_> = texts.iter().map(|(text, c)| (text.as_str(), *c)).collect();
            let ports = vec![endpoint_port(Some("http"), Protocol::Tcp, port)];
            EndpointSlice { ports, ..slice(&format!("s{index}"), &endpoints) }
        };
        slices.into_iter().enumerate().map(one).collect()
    })
}

/// The same slices with their names dealt out in another order, which is the order of merging.
fn renamed(slices: &[EndpointSlice]) -> Vec<EndpointSlice> {
    let names = slices.iter().rev().map(|slice| slice.name.clone());
    slices.iter().zip(names).map(|(slice, name)| EndpointSlice { name, ..slice.clone() }).collect()
}

proptest! {
    #[test]
    fn tables_depend_on_the_slices_and_not_on_their_order(slices in any_slices()) {
        let desired = compiled(service(), &slices, &[]);
        prop_assert_eq!(&desired, &compiled(service(), &slices, &[]));
        prop_assert_eq!(&desired, &compiled(service(), &renamed(&slices), &[]));
    }

    #[test]
    fn slots_are_backends_once_each_and_no_ready_one_is_missing(slices in any_slices()) {
        let desired = compiled(service(), &slices, &[]);
        let service = desired.services.values().next().unwrap();
        let slots = &service.all.slots;
        let once: BTreeSet<_> = slots.iter().collect();
        prop_assert_eq!(once.len(), slots.len());
        prop_assert!(slots.iter().all(|slot| service.backends.contains_key(slot)));

        let endpoints = slices.iter().flat_map(|slice| {
            slice.endpoints.iter().map(move |endpoint| (endpoint, slice.ports[0].port.get()))
        });
        let all = |wanted: fn(&Endpoint) -> bool| -> BTreeSet<BackendKey> {
            let found = endpoints.clone().filter(|(endpoint, _)| wanted(endpoint));
            found.map(|(e, port)| BackendKey { address: e.address, port }).collect()
        };
        let ready = all(|endpoint| endpoint.ready);
        let going = all(|endpoint| endpoint.serving && endpoint.terminating);
        let usable = if ready.is_empty() { going } else { ready };
        prop_assert_eq!(once, usable.iter().collect::<BTreeSet<_>>());
    }
}
