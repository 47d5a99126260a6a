//! What is special about a service: its algorithm, how policies narrow its choice, affinity, and whom it admits.

use lb_common::tables::{Frontend, Selection, Service};
use serde::Serialize;

use crate::{
    dataplane::{FoundService, algorithm_named},
    model::Algorithm,
};

/// The rules of a service, as its line and frontends have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// How endpoints are chosen; absent: there is none to choose, or by a number that means nothing here.
    algorithm: Option<&'static str>,
    /// For whoever asks at the cluster IP.
    internal: Choice,
    /// For clients outside, at any other address.
    external: Choice,
    /// Seconds for which a client stays with its endpoint; absent: it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity_seconds: Option<u32>,
    /// From where clients are admitted at guarded frontends; absent: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ranges: Option<Vec<String>>,
    /// Sockets are not given an endpoint when they connect.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    packets_only: bool,
}

/// What a policy leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Choice {
    /// How many slots.
    slots: u32,
    /// What becomes of clients where there is none.
    otherwise: Otherwise,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Otherwise {
    /// There is no endpoint at all.
    #[default]
    Refused,
    /// There is none on this node.
    Dropped,
}

impl Rules {
    /// What was found; the ranges are those of this service.
    pub fn of(found: &FoundService, source_ranges: &[String]) -> Self {
        let guarded = found.frontends.values().any(|leads| leads.is(Frontend::GUARDED));
        let seconds = found.line.affinity.seconds;
        Self {
            algorithm: algorithm(&found.line).map(Algorithm::name),
            internal: Choice::of(found.line.internal),
            external: Choice::of(found.line.external),
            affinity_seconds: (seconds != 0).then_some(seconds),
            source_ranges: guarded.then(|| source_ranges.to_vec()),
            packets_only: found.frontends.values().any(|leads| leads.is(Frontend::PACKETS_ONLY)),
        }
    }

    /// For people: a line for each rule; none for a service like most. `all`: slots without a policy.
    pub fn lines(&self, all: u32) -> Vec<String> {
        let mut lines = Vec::new();
        // What most services have is not said.
        let algorithm = self.algorithm.filter(|name| *name != Algorithm::default().name());
        lines.extend(algorithm.map(str::to_owned));
        for (name, choice) in [("internal", self.internal), ("external", self.external)] {
            match (choice.slots, choice.otherwise) {
                (0, Otherwise::Dropped) => lines.push(format!("{name}: none here, dropped")),
                (slots, _) if slots != all => lines.push(format!("{name}: {slots} of {all}")),
                _ => {}
            }
        }
        lines.extend(self.affinity_seconds.map(|seconds| format!("affinity: {seconds} s")));
        if let Some(ranges) = &self.source_ranges {
            let from = if ranges.is_empty() { "nowhere".to_owned() } else { ranges.join(", ") };
            lines.push(format!("guarded, from {from}"));
        }
        if self.packets_only {
            lines.push("packets only".to_owned());
        }
        lines
    }
}

/// What a service's tables are used by: all have the same, those without slots have none.
fn algorithm(line: &Service) -> Option<Algorithm> {
    let tables = [line.all, line.internal, line.external];
    let with_slots = tables.into_iter().find(|table| !table.is_empty())?;
    algorithm_named(with_slots.algorithm())
}

impl Choice {
    fn of(selection: Selection) -> Self {
        let dropped = selection == Selection::NONE_HERE;
        let otherwise = if dropped { Otherwise::Dropped } else { Otherwise::Refused };
        Self { slots: selection.len(), otherwise }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::tables::{AffinityRule, Algorithm as Number};

    use super::*;

    fn found(internal: Selection, external: Selection) -> FoundService {
        let all = Selection::new(0, 3).unwrap();
        let line = Service { all, internal, external, affinity: AffinityRule::default() };
        FoundService { line, ..FoundService::default() }
    }

    #[test]
    fn a_service_like_most_has_nothing_to_tell() {
        let all = Selection::new(0, 3).unwrap();
        assert_eq!(Rules::of(&found(all, all), &[]).lines(3), [""; 0]);
        let none = Rules::of(&found(Selection::EMPTY, Selection::EMPTY), &[]);
        assert_eq!(none.lines(0), [""; 0]);
    }

    #[test]
    fn each_rule_is_a_line() {
        let mut found = found(Selection::new(3, 1).unwrap(), Selection::NONE_HERE);
        found.line.all = found.line.all.by(Number::MAGLEV);
        found.line.affinity = AffinityRule { group: 7, seconds: 60 };
        let frontend = crate::compile::Frontend {
            address: [203, 0, 113, 1].into(),
            port: 80,
            protocol: crate::model::Protocol::Tcp,
        };
        found.frontends.insert(frontend, Frontend { service: 1, flags: Frontend::GUARDED });
        let rules = Rules::of(&found, &["10.0.0.0/8".to_owned()]);
        assert_eq!(
            rules.lines(3),
            [
                "maglev",
                "internal: 1 of 3",
                "external: none here, dropped",
                "affinity: 60 s",
                "guarded, from 10.0.0.0/8"
            ]
        );
        assert_eq!(
            serde_json::to_value(&rules).unwrap(),
            serde_json::json!({
                "algorithm": "maglev",
                "internal": { "slots": 1, "otherwise": "refused" },
                "external": { "slots": 0, "otherwise": "dropped" },
                "affinitySeconds": 60,
                "sourceRanges": ["10.0.0.0/8"],
            })
        );
    }
}
