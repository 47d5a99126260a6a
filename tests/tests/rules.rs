//! Services with rules, with real sockets: session affinity, traffic policies, load balancers' addresses
//! and their source ranges, addresses and ports that nobody has. Needs root.

mod common;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Result;
use common::{BACKENDS, BRIEFLY, Bed, SOON};
use lb_tests::{
    echo::{self, Pod, cluster_ip, name, node_port},
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    manifests::Endpoint,
    patience::patient,
    traffic::{Protocol, assert_fair, many, request},
};

/// What all beds here are started with.
const ARGUMENTS: [&str; 6] =
    ["--node-name", "node1", "--service-cidr", "10.96.0.0/16", "--service-cidr", "fd00:96::/112"];

/// The address of the load balancer, which the outside routes to node 1.
fn load_balancer(family: Family) -> SocketAddr {
    SocketAddr::new(cast::service(family, 99), echo::PORT)
}

/// A cluster whose echo service is of type `LoadBalancer`, with these lines in its spec.
fn bed(spec: &[&str]) -> Result<Bed> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &ARGUMENTS)?;
    for family in Family::BOTH {
        for number in [50, 99] {
            let (address, node) = (cast::service(family, number), cast::NODE1.ip(family));
            bed.cluster.outside().ip(&format!("route add {address} via {node}\n"))?;
        }
    }
    write(&bed, spec)?;
    set_endpoints(&bed, &BACKENDS)?;
    Ok(bed)
}

/// Replaces the service. What it was replaced by is to be waited for.
fn write(bed: &Bed, spec: &[&str]) -> Result<()> {
    let ingress =
        Family::BOTH.map(|family| format!("  - ip: \"{}\"\n", load_balancer(family).ip()));
    let spec: Vec<&str> = [&["type: LoadBalancer"], spec].concat();
    let kind = format!("  {}\n", spec.join("\n  "));
    let yaml = bed.service.to_yaml().replace("  type: NodePort\n", &kind);
    let status = format!("status:\n  loadBalancer:\n    ingress:\n  {}", ingress.join("  "));
    bed.manifests.write("echo.yaml", &format!("{yaml}{status}"))?;
    Ok(())
}

/// Makes these the endpoints, and says on which nodes they are.
fn set_endpoints(bed: &Bed, pods: &[Pod]) -> Result<()> {
    let endpoints: Vec<Endpoint> = pods
        .iter()
        .flat_map(|pod| echo::endpoints(&[*pod]).into_iter().map(|one| one.on(pod.0)))
        .collect();
    bed.manifests.write_endpoints(&bed.service, &endpoints)?;
    Ok(())
}

/// Waits until every service of the kernel is as wanted.
fn wait_for(bed: &Bed, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    bed.lb.wait_for(what, |status| {
        let services = status["services"].as_array();
        services.is_some_and(|services| {
            services.iter().all(|one| {
                let frontends = one["frontends"].to_string();
                let is_there = |family| frontends.contains(&load_balancer(family).to_string());
                Family::BOTH.into_iter().any(is_there) && wanted(one)
            })
        })
    })?;
    Ok(())
}

/// For each family and protocol.
fn each(mut check: impl FnMut(Family, Protocol) -> Result<()>) -> Result<()> {
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            check(family, protocol)?;
        }
    }
    Ok(())
}

fn assert_all_of(client: &Namespace, protocol: Protocol, target: SocketAddr, pods: &[Pod]) {
    let tally = many(client, protocol, target, 200, 8);
    tally.assert_all_answered();
    let names: Vec<String> = pods.iter().map(|pod| name(*pod)).collect();
    assert_fair(&tally, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_client_of_a_service_with_affinity_is_answered_by_one_pod_over_both_protocols() -> Result<()> {
    let bed = bed(&["sessionAffinity: ClientIP"])?;
    wait_for(&bed, "affinity", |one| one["affinitySeconds"] == 10_800)?;
    for family in Family::BOTH {
        for (client, target) in [
            (bed.cluster.outside(), load_balancer(family)),
            (bed.cluster.outside(), node_port(family)),
            (bed.cluster.pod(1, 3), cluster_ip(family)),
        ] {
            let mut names = std::collections::BTreeSet::new();
            for protocol in Protocol::BOTH {
                for _ in 0..20 {
                    names.insert(request(client, protocol, target, SOON)?.name);
                }
            }
            assert_eq!(names.len(), 1, "{target}: {names:?}");
        }
    }
    Ok(())
}

#[test]
fn a_client_goes_back_to_its_pod_until_the_time_out_is_over() -> Result<()> {
    let time_out = patient(Duration::from_secs(1));
    let seconds = time_out.as_secs();
    let config = format!("sessionAffinityConfig: {{ clientIP: {{ timeoutSeconds: {seconds} }} }}");
    let bed = bed(&["sessionAffinity: ClientIP", &config])?;
    wait_for(&bed, "affinity", |one| one["affinitySeconds"] == seconds)?;
    let (client, target) = (bed.cluster.pod(1, 3), cluster_ip(Family::V4));
    let by_choice = request(client, Protocol::Tcp, target, SOON)?.name;
    let other = BACKENDS.into_iter().find(|pod| name(*pod) != by_choice).expect("three pods");
    set_endpoints(&bed, &[other])?;
    wait_for(&bed, "one endpoint", |one| one["slots"] == 1)?;
    assert_eq!(request(client, Protocol::Tcp, target, SOON)?.name, name(other));
    set_endpoints(&bed, &BACKENDS)?;
    wait_for(&bed, "all endpoints", |one| one["slots"] == 3)?;
    assert_eq!(request(client, Protocol::Tcp, target, SOON)?.name, name(other));
    let silent_since = Instant::now();
    bed.lb.wait_for("the end of the affinity", |_| {
        silent_since.elapsed() > time_out + Duration::from_millis(100)
    })?;
    assert_eq!(request(client, Protocol::Tcp, target, SOON)?.name, by_choice);
    Ok(())
}

#[test]
fn under_external_local_outsiders_reach_the_pods_of_this_node_and_pods_reach_all() -> Result<()> {
    let bed = bed(&["externalTrafficPolicy: Local"])?;
    wait_for(&bed, "the policy", |one| one["external"]["slots"] == 2 && one["slots"] == 3)?;
    each(|family, protocol| {
        for target in [load_balancer(family), node_port(family)] {
            assert_all_of(bed.cluster.outside(), protocol, target, &BACKENDS[..2]);
            let answer = request(bed.cluster.outside(), protocol, target, SOON)?;
            assert_eq!(answer.peer.ip(), cast::OUTSIDE.ip(family), "the client's own address");
            assert_all_of(bed.cluster.pod(1, 3), protocol, target, &BACKENDS);
        }
        assert_all_of(bed.cluster.pod(1, 3), protocol, cluster_ip(family), &BACKENDS);
        Ok(())
    })
}

#[test]
fn under_internal_local_the_cluster_ip_leads_to_the_pods_of_this_node_only() -> Result<()> {
    let bed = bed(&["internalTrafficPolicy: Local"])?;
    wait_for(&bed, "the policy", |one| one["internal"]["slots"] == 2 && one["slots"] == 3)?;
    each(|family, protocol| {
        assert_all_of(bed.cluster.pod(1, 3), protocol, cluster_ip(family), &BACKENDS[..2]);
        assert_all_of(bed.cluster.outside(), protocol, load_balancer(family), &BACKENDS);
        Ok(())
    })
}

#[test]
fn where_local_leaves_nobody_outsiders_get_no_answer_which_is_counted() -> Result<()> {
    let bed = bed(&["externalTrafficPolicy: Local"])?;
    set_endpoints(&bed, &[(2, 1)])?;
    wait_for(&bed, "one endpoint elsewhere", |one| {
        one["external"]["otherwise"] == "dropped" && one["slots"] == 1
    })?;
    let target = load_balancer(Family::V4);
    assert!(request(bed.cluster.outside(), Protocol::Tcp, target, BRIEFLY).is_err());
    assert!(bed.lb.counter("drop_no_local_backend")? > 0);
    let answer = request(bed.cluster.pod(1, 3), Protocol::Tcp, target, SOON)?;
    assert_eq!(answer.name, name((2, 1)));
    Ok(())
}

#[test]
fn source_ranges_guard_the_load_balancers_address_and_follow_the_manifest() -> Result<()> {
    let bed = bed(&["loadBalancerSourceRanges: [\"192.0.2.0/24\", \"2001:db8:1::/64\"]"])?;
    let guarded = |text: &'static str| {
        move |one: &serde_json::Value| one["sourceRanges"].to_string().contains(text)
    };
    wait_for(&bed, "the ranges", |one| {
        guarded("192.0.2.0/24")(one) || guarded("2001:db8:1::/64")(one)
    })?;
    let (outside, pod) = (bed.cluster.outside(), bed.cluster.pod(1, 3));
    each(|family, protocol| {
        request(outside, protocol, load_balancer(family), SOON)?;
        assert!(request(pod, protocol, load_balancer(family), BRIEFLY).is_err());
        request(pod, protocol, cluster_ip(family), SOON)?;
        request(pod, protocol, node_port(family), SOON)?;
        Ok(())
    })?;
    assert!(bed.lb.counter("drop_not_admitted")? >= 4);

    write(&bed, &["loadBalancerSourceRanges: [\"10.244.0.0/16\", \"fd00:244::/32\"]"])?;
    wait_for(&bed, "other ranges", |one| {
        guarded("10.244.0.0/16")(one) || guarded("fd00:244::/32")(one)
    })?;
    each(|family, protocol| {
        assert!(request(outside, protocol, load_balancer(family), BRIEFLY).is_err());
        request(pod, protocol, load_balancer(family), SOON)?;
        Ok(())
    })?;
    write(&bed, &[])?;
    wait_for(&bed, "no ranges", |one| one["sourceRanges"].is_null())?;
    each(|family, protocol| {
        request(outside, protocol, load_balancer(family), SOON)?;
        Ok(())
    })
}

#[test]
fn ports_and_addresses_that_nobody_has_get_no_answer_and_are_counted() -> Result<()> {
    let bed = bed(&[])?;
    wait_for(&bed, "the load balancer", |one| one["slots"] == 3)?;
    for family in Family::BOTH {
        for (ip, reason) in [
            (cluster_ip(family).ip(), "drop_unknown_port"),
            (load_balancer(family).ip(), "drop_unknown_port"),
            (cast::service(family, 50), "drop_unallocated_address"),
        ] {
            for client in [bed.cluster.pod(1, 3), bed.cluster.outside()] {
                // The outside has no route to cluster IPs.
                if client.name() == bed.cluster.outside().name() && ip == cluster_ip(family).ip() {
                    continue;
                }
                let before = bed.lb.counter(reason)?;
                let target = SocketAddr::new(ip, 81);
                assert!(request(client, Protocol::Tcp, target, BRIEFLY).is_err());
                assert!(bed.lb.counter(reason)? > before, "{reason}: {target}");
            }
        }
    }
    Ok(())
}

#[test]
fn of_two_services_with_one_external_address_the_first_is_served_and_the_other_reported()
-> Result<()> {
    let bed = bed(&[])?;
    let shared: IpAddr = load_balancer(Family::V4).ip();
    let rival = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: rival\nspec:\n  clusterIP: 10.96.0.77\n  \
         externalIPs: [\"{shared}\"]\n  ports:\n  - port: {}\n",
        echo::PORT
    );
    bed.manifests.write("rival.yaml", &rival)?;
    bed.lb.wait_for("the report", |status| {
        let problems = status["problems"].to_string();
        problems.contains("default/rival: spec.externalIPs[0]") && problems.contains("default/echo")
    })?;
    request(bed.cluster.pod(1, 3), Protocol::Tcp, load_balancer(Family::V4), SOON)?;
    bed.manifests.remove("rival.yaml")?;
    bed.lb.wait_for("no problem", |status| {
        status["problems"].as_array().is_some_and(Vec::is_empty)
    })?;
    Ok(())
}
