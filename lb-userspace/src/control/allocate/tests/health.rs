//! Ports for health checks: given like node ports, and of their range.

use super::*;

fn local(more: &serde_json::Value) -> serde_json::Value {
    let mut spec = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn port(world: &World, name: &str) -> Option<u16> {
    world.get(name).traffic.health_check_port.map(Port::get)
}

#[test]
fn a_load_balancer_with_a_local_policy_is_given_a_port_for_health_checks_and_keeps_it() {
    let mut world = World::new(&[V4], &["203.0.113.0/24"]);
    assert_eq!(world.step(&[service("a", &local(&json!({})))]), [""; 0]);
    let given = port(&world, "a").unwrap();
    assert!((30086..=32767).contains(&given), "{given}");
    assert_ne!(world.node_ports("a"), [given]);
    // It is another one's node port to nobody, however it is asked for.
    let node_port = json!({ "type": "NodePort", "ports": [{ "port": 1, "nodePort": given }] });
    let check = json!({ "healthCheckNodePort": given });
    let taken = format!(
        "Invalid value: {given}: provided port is already allocated, to Service default/a; choose another one"
    );
    assert_eq!(
        world.step(&[
            service("a", &local(&json!({}))),
            service("b", &node_port),
            service("c", &local(&check)),
        ]),
        [
            format!("b: spec.ports[0].nodePort: {taken}"),
            format!("c: spec.healthCheckNodePort: {taken}"),
        ]
    );
    assert_eq!(port(&world, "a"), Some(given));
    let other = json!({ "healthCheckNodePort": 30001 });
    assert_eq!(
        world.step(&[service("a", &local(&other))]),
        [
            "a: spec.healthCheckNodePort: Invalid value: 30001: may not change once set; to change it, remove \
          the Service and make it anew"
        ]
    );
    // Without the policy nobody asks, and the port is somebody else's to have.
    let cluster = service("a", &json!({ "type": "LoadBalancer" }));
    assert_eq!(world.step(&[cluster, service("b", &node_port)]), [""; 0]);
    assert_eq!((port(&world, "a"), world.node_ports("b")), (None, vec![given]));
}

#[test]
fn a_written_port_for_health_checks_is_of_the_range_and_not_the_services_node_port() {
    let mut world = World::new(&[V4], &["203.0.113.0/24"]);
    let written = json!({ "healthCheckNodePort": 30001 });
    assert_eq!(world.step(&[service("a", &local(&written))]), [""; 0]);
    assert_eq!(port(&world, "a"), Some(30001));
    let outside = json!({ "healthCheckNodePort": 80 });
    assert_eq!(
        world.step(&[service("b", &local(&outside))]),
        [
            "b: spec.healthCheckNodePort: Invalid value: 80: provided port is not in the valid range. The range \
          of valid ports is 30000-32767"
        ]
    );
    let both = json!({
        "healthCheckNodePort": 30002, "ports": [{ "port": 80, "nodePort": 30002 }],
    });
    assert_eq!(
        world.step(&[service("c", &local(&both))]),
        ["c: spec.healthCheckNodePort: Duplicate value: 30002"]
    );
}

#[test]
fn a_full_range_is_told_for_the_port_of_health_checks_too() {
    let mut world = World::new(&[V4], &["203.0.113.0/24"]);
    world.config.node_ports = crate::model::NodePortRange { first: 30000, last: 30000 };
    let said = world.step(&[service("a", &local(&json!({})))]);
    assert_eq!(
        said,
        [
            "a: spec.healthCheckNodePort: Internal error: failed to allocate a nodePort: range is full; make \
          --node-port-range larger"
        ]
    );
}
