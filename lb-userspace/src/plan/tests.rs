//! One service, and what is said when it is another one.

use std::collections::BTreeSet;

use super::*;
use crate::model::{Family, Protocol, ServiceName};

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        service: ServiceName::new("default", name),
        port: "http".to_owned(),
        protocol: Protocol::Tcp,
        family: Family::V4,
    }
}

fn endpoints(hosts: &[u8]) -> BTreeSet<BackendKey> {
    let key = |host: &u8| BackendKey { address: [10, 1, 0, *host].into(), port: 8080 };
    hosts.iter().map(key).collect()
}

fn choice(hosts: &[u8]) -> Choice {
    Choice { endpoints: endpoints(hosts), dropped: false }
}

fn served(hosts: &[u8]) -> Served {
    let frontend = Frontend { address: [10, 96, 0, 1].into(), port: 80, protocol: Protocol::Tcp };
    Served {
        frontends: [frontend].into(),
        endpoints: endpoints(hosts),
        all: choice(hosts),
        internal: choice(hosts),
        external: choice(hosts),
        ..Served::default()
    }
}

/// The one difference between two services of the same name.
fn difference(before: Option<Served>, after: Option<Served>) -> Option<Difference> {
    let map = |one: Option<Served>| one.into_iter().map(|one| (key("web"), one)).collect();
    let mut all = differences(&map(before), &map(after));
    assert!(all.len() <= 1);
    all.pop()
}

#[test]
fn a_service_that_stays_as_it_is_is_not_named() {
    assert_eq!(difference(Some(served(&[1, 2])), Some(served(&[2, 1]))), None);
}

#[test]
fn services_that_come_and_go_are_told_with_all_that_they_have() {
    let added = difference(None, Some(served(&[1]))).expect("a difference");
    assert_eq!(added.change, Fate::Added);
    assert_eq!(added.frontends.added, ["10.96.0.1:80/TCP"]);
    assert_eq!(added.endpoints.added, ["10.1.0.1:8080"]);
    let removed = difference(Some(served(&[1])), None).expect("a difference");
    assert_eq!(removed.change, Fate::Removed);
    assert_eq!((removed.endpoints.added.len(), removed.endpoints.removed.len()), (0, 1));
    assert_eq!((added.rules, removed.rules), (vec![], vec![]));
    let names: Vec<String> = differences(
        &[(key("a"), served(&[1])), (key("b"), served(&[1]))].into(),
        &[(key("b"), served(&[1])), (key("c"), served(&[1]))].into(),
    )
    .into_iter()
    .map(|one| format!("{:?} {}", one.change, one.service))
    .collect();
    assert_eq!(names, ["Removed default/a", "Added default/c"]);
}

#[test]
fn endpoints_are_told_by_what_comes_and_what_goes() {
    let found = difference(Some(served(&[1, 2])), Some(served(&[2, 3]))).expect("a difference");
    assert_eq!(found.change, Fate::Changed);
    let delta =
        Delta { added: vec!["10.1.0.3:8080".into()], removed: vec!["10.1.0.1:8080".into()] };
    assert_eq!((&found.endpoints, &found.all), (&delta, &delta));
    assert_eq!((found.frontends, found.rules), (Delta::default(), vec![]));
}

#[test]
fn one_that_only_finishes_what_is_open_leaves_the_choice_and_not_the_endpoints() {
    let going = Served { endpoints: endpoints(&[1, 2]), ..served(&[2]) };
    let found = difference(Some(served(&[1, 2])), Some(going)).expect("a difference");
    assert_eq!(found.endpoints, Delta::default());
    assert_eq!(found.all.removed, ["10.1.0.1:8080"]);
}

#[test]
fn rules_are_told_as_they_are_and_would_be() {
    let before = served(&[1, 2]);
    let dropped = Choice { dropped: true, ..Choice::default() };
    let after = Served {
        affinity: 60,
        algorithm: Some(Algorithm::Maglev),
        external: dropped,
        internal: choice(&[1]),
        source_ranges: ["10.0.0.0/8".parse().expect("a range")].into(),
        ..before.clone()
    };
    let found = difference(Some(before), Some(after)).expect("a difference");
    let rules: Vec<String> = found
        .rules
        .iter()
        .map(|one| format!("{}: {} → {}", one.what, one.before, one.after))
        .collect();
    assert_eq!(
        rules,
        [
            "affinity: none → 60 s",
            "algorithm: none → maglev",
            "external clients: answered → dropped"
        ]
    );
    assert_eq!(found.internal.removed, ["10.1.0.2:8080"]);
    assert_eq!(found.external.removed.len(), 2);
    assert_eq!(found.source_ranges.added, ["10.0.0.0/8"]);
    assert_eq!(found.all, Delta::default());
}

#[test]
fn what_is_compiled_says_the_same_as_what_is_served() {
    let slots: Vec<BackendKey> = endpoints(&[1, 2]).into_iter().collect();
    let table = |slots: &[BackendKey], otherwise| Table {
        slots: slots.to_vec(),
        otherwise,
        ..Table::default()
    };
    let desired = DesiredService {
        all: table(&slots, Otherwise::Refuse),
        internal: table(&slots[..1], Otherwise::Drop),
        external: table(&[], Otherwise::Drop),
        ..DesiredService::default()
    };
    let found = Served::from(&desired);
    assert_eq!(found.all, choice(&[1, 2]));
    assert_eq!(found.internal, choice(&[1]));
    assert_eq!(found.external, Choice { dropped: true, ..Choice::default() });
}
