//! Which cluster IPs are taken, which are refused, and in what words.

use super::*;

/// A Service with one cluster IP, which is right; cases change one thing.
struct Case {
    service_type: ServiceType,
    cluster_ip: &'static str,
    cluster_ips: &'static [&'static str],
    families: &'static [&'static str],
    policy: &'static str,
    /// The addresses, if it is right and not headless.
    addresses: &'static [&'static str],
    /// The beginning of each finding.
    wrong: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            service_type: ServiceType::ClusterIp,
            cluster_ip: "10.96.0.10",
            cluster_ips: &[],
            families: &[],
            policy: "",
            addresses: &["10.96.0.10"],
            wrong: &[],
        }
    }
}

const DUAL: Case = Case {
    service_type: ServiceType::ClusterIp,
    cluster_ip: "10.96.0.10",
    cluster_ips: &["10.96.0.10", "fd00::a"],
    families: &["IPv4", "IPv6"],
    policy: "RequireDualStack",
    addresses: &["10.96.0.10", "fd00::a"],
    wrong: &[],
};

fn owned(texts: &[&str]) -> Option<Vec<String>> {
    (!texts.is_empty()).then(|| texts.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn check(case: &Case) {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let spec = ServiceSpec {
        cluster_ip: text(case.cluster_ip),
        cluster_ips: owned(case.cluster_ips),
        ip_families: owned(case.families),
        ip_family_policy: text(case.policy),
        ..ServiceSpec::default()
    };
    let mut findings = Findings::default();
    let read = read(&spec, case.service_type, &mut findings).0.addresses();
    let wrong = match findings.into_result(()) {
        Ok(()) => Vec::new(),
        Err(refused) => refused.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(wrong.len(), case.wrong.len(), "{wrong:#?}");
    for (found, expected) in wrong.iter().zip(case.wrong) {
        assert!(found.starts_with(expected), "{found}\nis not: {expected}");
    }
    if wrong.is_empty() {
        let read: Vec<_> = read.iter().map(ToString::to_string).collect();
        assert_eq!(read, case.addresses);
    }
}

#[test]
fn one_address_of_either_family_is_enough() {
    check(&Case::default());
    check(&Case { cluster_ip: "fd00::a", addresses: &["fd00::a"], ..Case::default() });
    check(&Case { cluster_ips: &["10.96.0.10"], ..Case::default() });
    check(&Case { policy: "PreferDualStack", ..Case::default() });
}

#[test]
fn two_addresses_need_the_policy_and_both_families() {
    check(&DUAL);
    check(&Case { policy: "PreferDualStack", families: &[], ..DUAL });
    check(&Case {
        policy: "",
        wrong: &["spec.ipFamilyPolicy: Invalid value: \"\": must be RequireDualStack"],
        ..DUAL
    });
    check(&Case {
        policy: "SingleStack",
        wrong: &["spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack"],
        ..DUAL
    });
    check(&Case {
        cluster_ips: &["10.96.0.10", "10.96.0.11"],
        families: &[],
        wrong: &[
            "spec.clusterIPs: Invalid value: [\"10.96.0.10\", \"10.96.0.11\"]: may specify no more",
        ],
        ..DUAL
    });
    check(&Case {
        families: &["IPv6", "IPv4"],
        wrong: &[
            "spec.clusterIPs[0]: Invalid value: \"10.96.0.10\": expected an IPv6 value",
            "spec.clusterIPs[1]: Invalid value: \"fd00::a\": expected an IPv4 value",
        ],
        ..DUAL
    });
}

#[test]
fn what_is_not_written_is_left_to_the_control_plane() {
    check(&Case { cluster_ip: "", addresses: &[], ..Case::default() });
    check(&Case { cluster_ips: &["10.96.0.10"], addresses: &["10.96.0.10"], ..DUAL });
}

#[test]
fn the_singular_and_the_plural_field_must_agree() {
    check(&Case {
        cluster_ip: "10.96.0.11",
        wrong: &["spec.clusterIPs: Invalid value: [\"10.96.0.10\", \"fd00::a\"]: first value must"],
        ..DUAL
    });
    check(&Case {
        cluster_ip: "",
        wrong: &["spec.clusterIPs: Invalid value: [\"10.96.0.10\", \"fd00::a\"]: must be empty"],
        ..DUAL
    });
}

#[test]
fn addresses_that_are_none_are_refused_where_they_stand() {
    check(&Case {
        cluster_ip: "10.96.0",
        wrong: &["spec.clusterIP: Invalid value: \"10.96.0\": must be a valid IP address"],
        ..Case::default()
    });
    check(&Case {
        cluster_ip: "127.0.0.1",
        wrong: &["spec.clusterIP: Invalid value: \"127.0.0.1\": may not be in the loopback range"],
        ..Case::default()
    });
    check(&Case {
        cluster_ip: "239.1.1.1",
        wrong: &["spec.clusterIP: Invalid value: \"239.1.1.1\": may not be a multicast"],
        ..Case::default()
    });
    check(&Case {
        families: &["IPv5"],
        wrong: &[
            "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"",
        ],
        ..Case::default()
    });
    check(&Case {
        policy: "DualStack",
        wrong: &["spec.ipFamilyPolicy: Unsupported value: \"DualStack\": supported values:"],
        ..Case::default()
    });
}

#[test]
fn none_means_headless_and_stands_alone() {
    check(&Case { cluster_ip: "None", addresses: &[], ..Case::default() });
    check(&Case {
        cluster_ip: "None",
        cluster_ips: &["None", "10.96.0.10"],
        wrong: &["spec.clusterIPs: Invalid value: [\"None\", \"10.96.0.10\"]: 'None' must be"],
        ..Case::default()
    });
    check(&Case {
        service_type: ServiceType::NodePort,
        cluster_ip: "None",
        wrong: &["spec.clusterIP: Invalid value: \"None\": may not be set to 'None' for NodePort"],
        ..Case::default()
    });
}

#[test]
fn an_external_name_has_no_cluster_ip() {
    let external = Case { service_type: ServiceType::ExternalName, ..Case::default() };
    check(&Case { cluster_ip: "", addresses: &[], ..external });
    check(&Case { wrong: &["spec.clusterIP: Forbidden: may not be set"], ..external });
}
