//! How flows are spread over a Service's endpoints, by its annotations, with real sockets. Needs root.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::{Result, ensure};
use common::{BACKENDS, Bed, SOON};
use lb_tests::{
    echo::{cluster_ip, name, node_port},
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    traffic::{Protocol, Session, assert_shares, many, request},
};

/// A cluster whose echo service goes by this algorithm.
fn bed(algorithm: &str) -> Result<Bed> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &[])?;
    annotate(&bed, algorithm, &[])?;
    Ok(bed)
}

/// Makes the service go by an algorithm, with the weights of its pods, and waits until the kernel knows.
fn annotate(bed: &Bed, algorithm: &str, weights: &[(u8, u8, u16)]) -> Result<()> {
    let weights = weights.iter().flat_map(|(node, number, weight)| {
        Family::BOTH.map(|family| format!("{}={weight}", cast::pod(*node, *number).ip(family)))
    });
    let annotations = format!(
        "  annotations:\n    lb.dev/algorithm: {algorithm}\n    lb.dev/weights: \"{}\"\nspec:\n",
        weights.collect::<Vec<_>>().join(", ")
    );
    let yaml = bed.service.to_yaml().replacen("spec:\n", &annotations, 1);
    bed.manifests.write("echo.yaml", &yaml)?;
    bed.lb.wait_for("the algorithm", |status| {
        let services = status["services"].as_array();
        services.is_some_and(|all| all.iter().all(|one| one["algorithm"] == algorithm))
    })?;
    Ok(())
}

/// Who answers so many requests, one after the other.
fn answers(
    client: &Namespace,
    protocol: Protocol,
    target: SocketAddr,
    count: u32,
) -> Result<BTreeMap<String, u32>> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        *answers.entry(request(client, protocol, target, SOON)?.name).or_default() += 1;
    }
    Ok(answers)
}

fn open(client: &Namespace, target: SocketAddr, count: u32) -> Result<Vec<(String, Session)>> {
    let session = |_| {
        let mut session = Session::open(client, Protocol::Tcp, target, SOON)?;
        Ok((session.ask()?.name, session))
    };
    (0..count).map(session).collect()
}

fn tally(sessions: &[(String, Session)]) -> BTreeMap<&str, u32> {
    let mut tally = BTreeMap::new();
    for (name, _) in sessions {
        *tally.entry(name.as_str()).or_default() += 1;
    }
    tally
}

#[test]
fn in_turn_each_pod_answers_as_often_as_any_other() -> Result<()> {
    let bed = bed("round-robin")?;
    for family in Family::BOTH {
        for (client, target) in [
            (bed.cluster.pod(1, 3), cluster_ip(family)),
            (bed.cluster.outside(), node_port(family)),
        ] {
            for protocol in Protocol::BOTH {
                let answers = answers(client, protocol, target, 30)?;
                let expected = BACKENDS.map(|pod| (name(pod), 10));
                ensure!(answers == BTreeMap::from(expected), "{target} {protocol}: {answers:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn pods_answer_by_their_weights_and_one_without_weight_not_at_all() -> Result<()> {
    let bed = bed("random")?;
    let [first, second, third] = BACKENDS;
    annotate(&bed, "random", &[(first.0, first.1, 30), (second.0, second.1, 10)])?;
    let names = BACKENDS.map(name);
    // The third has 1.
    let shares = [(&*names[0], 30.0 / 41.0), (&*names[1], 10.0 / 41.0), (&*names[2], 1.0 / 41.0)];
    let target = cluster_ip(Family::V4);
    bed.lb.wait_for("the weights", |status| {
        status["services"].as_array().is_some_and(|all| all.iter().all(|one| one["slots"] == 41))
    })?;
    let answered = many(bed.cluster.pod(1, 3), Protocol::Tcp, target, 4_000, 8);
    answered.assert_all_answered();
    assert_shares(&answered, &shares);

    annotate(&bed, "round-robin", &[(third.0, third.1, 0), (first.0, first.1, 2)])?;
    let answers = answers(bed.cluster.pod(1, 3), Protocol::Udp, target, 30)?;
    let expected = BTreeMap::from([(name(first), 20), (name(second), 10)]);
    ensure!(answers == expected, "{answers:?}");
    Ok(())
}

#[test]
fn where_one_end_is_hashed_a_client_is_answered_by_one_pod() -> Result<()> {
    let bed = bed("source-hash")?;
    for algorithm in ["source-hash", "maglev", "destination-hash"] {
        annotate(&bed, algorithm, &[])?;
        for family in Family::BOTH {
            let mut by_client = Vec::new();
            for client in [bed.cluster.pod(1, 3), bed.cluster.pod(1, 2), bed.cluster.pod(1, 1)] {
                let mut names = BTreeSet::new();
                for protocol in Protocol::BOTH {
                    names.extend(answers(client, protocol, cluster_ip(family), 10)?.into_keys());
                }
                ensure!(names.len() == 1, "{algorithm} {}: {names:?}", client.name());
                by_client.extend(names);
            }
            let same = by_client.windows(2).all(|pair| pair[0] == pair[1]);
            ensure!(same || algorithm != "destination-hash", "{by_client:?}");
        }
    }
    Ok(())
}

#[test]
fn the_pod_with_fewer_connections_gets_the_next_ones() -> Result<()> {
    let bed = bed("least-connection")?;
    // Of two both are always compared.
    let pods = [BACKENDS[0], BACKENDS[2]];
    bed.set_backends(&pods)?;
    let (client, names) = (bed.cluster.pod(1, 3), pods.map(name));
    for (algorithm, family) in [
        ("least-connection", Family::V4),
        ("shortest-expected-delay", Family::V6),
        ("never-queue", Family::V4),
    ] {
        annotate(&bed, algorithm, &[])?;
        let target = cluster_ip(family);
        let sessions = open(client, target, 20)?;
        let even = BTreeMap::from(names.each_ref().map(|name| (name.as_str(), 10)));
        ensure!(tally(&sessions) == even, "{algorithm}: {:?}", tally(&sessions));
        // Those of one pod end; the next ones are all its own.
        let (ending, staying): (Vec<_>, Vec<_>) =
            sessions.into_iter().partition(|(one, _)| *one == names[1]);
        for (_, session) in ending {
            session.finish()?;
        }
        let next = open(client, target, 10)?;
        ensure!(tally(&next) == BTreeMap::from([(names[1].as_str(), 10)]), "{:?}", tally(&next));
        for (_, session) in staying.into_iter().chain(next) {
            session.finish()?;
        }
    }
    Ok(())
}

#[test]
fn open_connections_keep_their_pod_whatever_algorithm_and_weights_come() -> Result<()> {
    let bed = bed("random")?;
    let mut sessions = open(bed.cluster.pod(1, 3), cluster_ip(Family::V4), 20)?;
    sessions.extend(open(bed.cluster.outside(), node_port(Family::V6), 20)?);
    for algorithm in [
        "maglev",
        "round-robin",
        "source-hash",
        "destination-hash",
        "least-connection",
        "shortest-expected-delay",
        "never-queue",
        "random",
    ] {
        annotate(&bed, algorithm, &[(1, 1, 0), (2, 1, 7)])?;
        for (name, session) in &mut sessions {
            let answer = session.ask()?;
            ensure!(answer.name == *name, "{algorithm}: {} instead of {name}", answer.name);
        }
        let new = answers(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), 10)?;
        ensure!(!new.contains_key(&name((1, 1))), "{algorithm}: {new:?}");
    }
    Ok(())
}

#[test]
fn an_algorithm_that_there_is_not_is_reported_and_what_was_in_force_stays() -> Result<()> {
    let bed = bed("round-robin")?;
    let yaml = bed.service.to_yaml();
    let annotated = "  annotations: { lb.dev/algorithm: lblc }\nspec:\n";
    bed.manifests.write("echo.yaml", &yaml.replacen("spec:\n", annotated, 1))?;
    bed.lb.wait_for("the report", |status| {
        let problems = status["problems"].to_string();
        ["default/echo", "lb.dev/algorithm", "lblc", "round-robin"]
            .into_iter()
            .all(|part| problems.contains(part))
    })?;
    let answers = answers(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(Family::V4), 30)?;
    let expected = BACKENDS.map(|pod| (name(pod), 10));
    ensure!(answers == BTreeMap::from(expected), "{answers:?}");
    Ok(())
}
