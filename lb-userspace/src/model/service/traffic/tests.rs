//! Which addresses, policies, ranges and time-outs are taken, and in what words others are refused.

use super::*;

/// A spec, written as in a manifest, of a type; nothing is wrong with it.
#[derive(Clone)]
struct Case {
    service_type: ServiceType,
    spec: serde_json::Value,
    ingress: serde_json::Value,
    /// Each finding.
    wrong: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            service_type: ServiceType::LoadBalancer,
            spec: serde_json::json!({}),
            ingress: serde_json::json!([]),
            wrong: &[],
        }
    }
}

#[track_caller]
fn check(case: &Case) -> Traffic {
    let text = serde_json::json!({
        "spec": case.spec,
        "status": { "loadBalancer": { "ingress": case.ingress } },
    });
    let object: api::Service = serde_json::from_value(text).unwrap();
    let mut findings = Findings::default();
    let spec = object.spec.clone().unwrap();
    let traffic = read(&object, &spec, case.service_type, &mut findings);
    let wrong = match findings.into_result(()) {
        Ok(()) => Vec::new(),
        Err(refused) => refused.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(wrong, case.wrong);
    traffic
}

fn spec(spec: serde_json::Value) -> Case {
    Case { spec, ..Case::default() }
}

fn ingress(ingress: serde_json::Value) -> Case {
    Case { ingress, ..Case::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_written_is_as_the_api_server_would_fill_it_in() {
    let traffic = check(&Case::default());
    assert_eq!(traffic, Traffic::default());
    assert_eq!(traffic.internal_policy, TrafficPolicy::Cluster);
    assert_eq!(check(&spec(serde_json::json!({ "sessionAffinity": "None" }))).affinity, None);
}

#[test]
fn external_ips_are_read_for_any_type_and_special_ones_refused() {
    let written = serde_json::json!({ "externalIPs": ["203.0.113.7", "2001:db8::7"] });
    for service_type in [ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer] {
        let traffic = check(&Case { service_type, spec: written.clone(), ..Case::default() });
        assert_eq!(traffic.external_ips, [ip("203.0.113.7"), ip("2001:db8::7")]);
    }
    check(&Case {
        wrong: &[
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range \
             (127.0.0.0/8, ::1/128)",
            "spec.externalIPs[1]: Invalid value: \"web\": must be a valid IP address, (e.g. \
             10.9.8.7 or 2001:db8::ffff)",
        ],
        ..spec(serde_json::json!({ "externalIPs": ["127.0.0.1", "web"] }))
    });
}

#[test]
fn addresses_of_the_load_balancer_are_captured_unless_it_proxies_by_itself() {
    let traffic = check(&ingress(serde_json::json!([
        { "ip": "203.0.113.1" },
        { "ip": "203.0.113.2", "ipMode": "VIP" },
        { "ip": "203.0.113.3", "ipMode": "Proxy" },
        { "hostname": "lb.example.com" },
    ])));
    assert_eq!(traffic.load_balancer_ips, [ip("203.0.113.1"), ip("203.0.113.2")]);
    check(&Case {
        wrong: &[
            "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"Vip\": supported values: \
             \"Proxy\", \"VIP\"",
            "status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is \
             not set",
            "status.loadBalancer.ingress[2].ip: Invalid value: \"1.2.3\": must be a valid IP \
             address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
        ..ingress(serde_json::json!([
            { "ip": "203.0.113.1", "ipMode": "Vip" },
            { "hostname": "lb.example.com", "ipMode": "VIP" },
            { "ip": "1.2.3" },
        ]))
    });
    check(&Case {
        service_type: ServiceType::NodePort,
        wrong: &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is \
                  LoadBalancer"],
        ..ingress(serde_json::json!([{ "ip": "203.0.113.1" }]))
    });
}

const NO_HEALTH_CHECKS: &[&str] = &[
    "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' and \
     `externalTrafficPolicy` is 'Local'",
];

#[test]
fn a_port_for_health_checks_is_one_of_load_balancers_with_a_local_policy() {
    let written = |policy: &str| {
        spec(serde_json::json!({ "externalTrafficPolicy": policy, "healthCheckNodePort": 31000 }))
    };
    let traffic = check(&written("Local"));
    assert_eq!(traffic.health_check_port.map(Port::get), Some(31000));
    check(&Case { wrong: NO_HEALTH_CHECKS, ..written("Cluster") });
    check(&Case {
        service_type: ServiceType::NodePort,
        wrong: NO_HEALTH_CHECKS,
        ..written("Local")
    });
    check(&Case {
        wrong: &["spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, \
                  inclusive"],
        ..spec(
            serde_json::json!({ "externalTrafficPolicy": "Local", "healthCheckNodePort": 70000 }),
        )
    });
    let none = serde_json::json!({ "externalTrafficPolicy": "Local", "healthCheckNodePort": 0 });
    assert_eq!(check(&spec(none)).health_check_port, None, "as good as not written");
}

#[test]
fn source_ranges_are_read_with_spaces_and_loose_bits_and_others_refused() {
    let ranges = serde_json::json!([" 10.1.2.3/8 ", "2001:db8::/32", "0.0.0.0/0"]);
    let traffic = check(&spec(serde_json::json!({ "loadBalancerSourceRanges": ranges })));
    let shown: Vec<_> = traffic.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]);
    check(&Case {
        wrong: &[
            "spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR \
             value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            "spec.loadBalancerSourceRanges[1]: Invalid value: \"10.0.0.0/33\": must be a valid \
             CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ],
        ..spec(serde_json::json!({ "loadBalancerSourceRanges": ["10.0.0.0", "10.0.0.0/33"] }))
    });
    check(&Case {
        service_type: ServiceType::NodePort,
        wrong: &["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is \
                  'LoadBalancer'"],
        ..spec(serde_json::json!({ "loadBalancerSourceRanges": ["10.0.0.0/8"] }))
    });
}

#[test]
fn policies_are_cluster_or_local_and_the_external_one_only_for_what_is_reached_from_outside() {
    let both = serde_json::json!({
        "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
    });
    let traffic = check(&spec(both.clone()));
    assert_eq!(traffic.internal_policy, TrafficPolicy::Local);
    assert_eq!(traffic.external_policy, TrafficPolicy::Local);

    let on_external_ip = serde_json::json!({
        "externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.7"],
    });
    let service_type = ServiceType::ClusterIp;
    let traffic = check(&Case { service_type, ..spec(on_external_ip) });
    assert_eq!(traffic.external_policy, TrafficPolicy::Local);
    check(&Case {
        service_type,
        wrong: &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for \
                  externally-accessible services"],
        ..spec(both)
    });
    check(&Case {
        wrong: &[
            "spec.externalTrafficPolicy: Unsupported value: \"local\": supported values: \
             \"Cluster\", \"Local\"",
            "spec.internalTrafficPolicy: Unsupported value: \"Node\": supported values: \
             \"Cluster\", \"Local\"",
        ],
        ..spec(serde_json::json!({
            "internalTrafficPolicy": "Node", "externalTrafficPolicy": "local",
        }))
    });
}

#[test]
fn affinity_lasts_three_hours_unless_written_and_at_most_a_day() {
    let of = |seconds: i32| {
        serde_json::json!({
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": seconds } },
        })
    };
    let traffic = check(&spec(serde_json::json!({ "sessionAffinity": "ClientIP" })));
    assert_eq!(traffic.affinity, Some(10_800));
    for seconds in [1, 86_400] {
        assert_eq!(check(&spec(of(seconds))).affinity, Some(seconds.unsigned_abs()));
    }
    check(&Case {
        wrong: &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be \
                  greater than 0 and less than or equal to 86400"],
        ..spec(of(0))
    });
    check(&Case {
        wrong: &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must \
                  be greater than 0 and less than or equal to 86400"],
        ..spec(of(86_401))
    });
    check(&Case {
        wrong: &["spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \
                  \"ClientIP\", \"None\""],
        ..spec(serde_json::json!({ "sessionAffinity": "Cookie" }))
    });
    check(&Case {
        wrong: &["spec.sessionAffinityConfig: Forbidden: must not be set when session affinity \
                  is None"],
        ..spec(serde_json::json!({ "sessionAffinityConfig": { "clientIP": {} } }))
    });
}
