//! Many connections while endpoints come and go. Needs root.

mod common;

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use common::{BACKENDS, Bed};
use lb_tests::{
    echo::{self, cluster_ip, name},
    lab::cast::Family,
    manifests::Endpoint,
    patience::{connections, patient},
    traffic::{Protocol, many},
};
use serde_json::Value;

/// How often the endpoints change while connections are made, at least.
const CHANGES: u32 = 12;

/// How long an endpoint that terminates stays when it has no open connection any more: the last packets of
/// some are on their way.
const GRACE: Duration = Duration::from_millis(500);

/// Endpoints leave as Kubernetes has them leave: terminating first, then removed.
#[test]
fn a_hundred_thousand_connections_do_not_fail_while_endpoints_come_and_go() -> Result<()> {
    let many_connections = connections();
    let bed = Bed::standard()?;
    let (done, changes) = (AtomicBool::new(false), AtomicU32::new(0));
    let connect = || {
        let client = bed.cluster.pod(1, 3);
        many(client, Protocol::Tcp, cluster_ip(Family::V4), many_connections, 16)
    };
    let tally = thread::scope(|scope| -> Result<_> {
        let churn = scope.spawn(|| come_and_go(&bed, &done, &changes));
        let mut tally = connect();
        // Where few are made, the endpoints have hardly changed meanwhile.
        while changes.load(Ordering::Relaxed) < CHANGES && !churn.is_finished() {
            tally = tally.merge(connect());
        }
        done.store(true, Ordering::Relaxed);
        churn.join().expect("the thread that changes endpoints")?;
        Ok(tally)
    })?;
    tally.assert_all_answered();
    assert!(tally.answered() >= many_connections, "{tally}");
    let [one, two, third] = BACKENDS.map(|pod| tally.answers.get(&name(pod)).copied().unwrap_or(0));
    assert!(third > 0, "the endpoint that came and went was never chosen: {tally}");
    // Between the two that stay it is a toss-up, for all connections of a source port at once.
    let chance = 5.0 * tally.deviation_of_a_toss_up();
    assert!(
        f64::from(u32::try_from(one.abs_diff(two))?) < chance,
        "more than chance allows ({chance}): {tally}"
    );
    Ok(())
}

/// Lets the third endpoint come, terminate and go until told to stop, and counts the changes.
fn come_and_go(bed: &Bed, done: &AtomicBool, changes: &AtomicU32) -> Result<()> {
    let stay = echo::endpoints(&BACKENDS[..2]);
    let third = echo::endpoints(&BACKENDS[2..]);
    let going = third.iter().map(|one| Endpoint::terminating(one.address)).collect::<Vec<_>>();
    let states = [(&going[..], 2, 3), (&[], 2, 2), (&third[..], 3, 3)];
    for (endpoints, slots, backends) in states.into_iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        bed.manifests.write_endpoints(&bed.service, &[&stay, endpoints].concat())?;
        bed.lb.wait_for("a change of endpoints", |status| {
            let services = status["services"].as_array();
            services.is_some_and(|all| {
                all.iter().all(|one| {
                    one["slots"] == slots
                        && one["backends"].as_array().map(Vec::len) == Some(backends)
                })
            })
        })?;
        if slots < backends {
            bed.lb.wait_for("the end of what the endpoint has open", |status| {
                !has_open(status, &third)
            })?;
            thread::sleep(patient(GRACE)); // tidy: the grace itself
        }
        changes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether any of these endpoints has open connections.
fn has_open(status: &Value, endpoints: &[Endpoint]) -> bool {
    let services = status["services"].as_array().into_iter().flatten();
    let mut backends = services.flat_map(|one| one["backends"].as_array().into_iter().flatten());
    backends.any(|backend| {
        let is_one = endpoints.iter().any(|one| backend["backend"] == one.address.to_string());
        is_one && backend["open"] != 0
    })
}
