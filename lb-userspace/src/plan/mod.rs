//! What would change in the tables: services as they are served beside services as they are wanted. Pure; reading
//! the one and compiling the other is done elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    compile::{BackendKey, DesiredService, Frontend, Otherwise, ServiceKey, Table},
    model::{Algorithm, IpRange},
};

/// A service, as far as it makes a difference to anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Where it is reached.
    pub frontends: BTreeSet<Frontend>,
    /// Its endpoints, those that only finish what is open among them.
    pub endpoints: BTreeSet<BackendKey>,
    /// What new flows choose from.
    pub all: Choice,
    /// What the internal policy leaves of that.
    pub internal: Choice,
    /// What the external policy leaves of that.
    pub external: Choice,
    /// Seconds for which a client stays with its endpoint; 0: it doesn't.
    pub affinity: u32,
    /// By which algorithm new flows choose; of none that has nothing to choose from.
    pub algorithm: Option<Algorithm>,
    /// From where guarded frontends admit clients.
    pub source_ranges: BTreeSet<IpRange>,
}

/// What a client is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The endpoints that it may be given.
    pub endpoints: BTreeSet<BackendKey>,
    /// Where there are none it is dropped, not refused.
    pub dropped: bool,
}

/// What becomes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It comes.
    Added,
    /// It stays, and is different.
    Changed,
    /// It goes.
    Removed,
}

/// What is different about a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Namespace and name.
    pub service: String,
    /// The port's name, or its number.
    pub port: String,
    /// The protocol.
    pub protocol: String,
    /// The family.
    pub family: String,
    /// What becomes of it.
    pub change: Fate,
    /// Where it is reached.
    pub frontends: Delta,
    /// Its endpoints.
    pub endpoints: Delta,
    /// Those of them that new flows may go to.
    pub all: Delta,
    /// The same at the cluster IP.
    pub internal: Delta,
    /// The same for clients outside.
    pub external: Delta,
    /// From where clients are admitted.
    pub source_ranges: Delta,
    /// What becomes of clients where there is no endpoint, and how long they are remembered.
    pub rules: Vec<Rule>,
}

/// What comes to a set, and what goes from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// What comes.
    pub added: Vec<String>,
    /// What goes.
    pub removed: Vec<String>,
}

/// A rule that is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Which one.
    pub what: &'static str,
    /// How it is.
    pub before: String,
    /// How it would be.
    pub after: String,
}

impl Choice {
    fn wanted(table: &Table) -> Self {
        let dropped = table.slots.is_empty() && table.otherwise == Otherwise::Drop;
        Self { endpoints: table.slots.iter().copied().collect(), dropped }
    }

    fn when_empty(&self) -> &'static str {
        match (self.endpoints.is_empty(), self.dropped) {
            (false, _) => "answered",
            (true, true) => "dropped",
            (true, false) => "refused",
        }
    }
}

impl From<&DesiredService> for Served {
    fn from(desired: &DesiredService) -> Self {
        Self {
            frontends: desired.frontends.keys().copied().collect(),
            endpoints: desired.backends.keys().copied().collect(),
            all: Choice::wanted(&desired.all),
            internal: Choice::wanted(&desired.internal),
            external: Choice::wanted(&desired.external),
            affinity: desired.affinity,
            algorithm: [&desired.all, &desired.internal, &desired.external]
                .into_iter()
                .find(|table| !table.slots.is_empty())
                .map(|table| table.algorithm),
            source_ranges: desired.source_ranges.clone(),
        }
    }
}

impl Delta {
    fn between<T: Ord + ToString>(before: &BTreeSet<T>, after: &BTreeSet<T>) -> Self {
        let text = |one: &T| one.to_string();
        Self {
            added: after.difference(before).map(text).collect(),
            removed: before.difference(after).map(text).collect(),
        }
    }
}

impl Difference {
    fn between(key: &ServiceKey, before: Option<&Served>, after: Option<&Served>) -> Option<Self> {
        let change = match (before, after) {
            (None, Some(_)) => Fate::Added,
            (Some(_), None) => Fate::Removed,
            (before, after) if before == after => return None,
            _ => Fate::Changed,
        };
        let nothing = Served::default();
        let (old, new) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
        let choice =
            |of: fn(&Served) -> &Choice| Delta::between(&of(old).endpoints, &of(new).endpoints);
        Some(Self {
            service: key.service.to_string(),
            port: key.port.clone(),
            protocol: key.protocol.to_string(),
            family: key.family.to_string(),
            change,
            frontends: Delta::between(&old.frontends, &new.frontends),
            endpoints: Delta::between(&old.endpoints, &new.endpoints),
            all: choice(|one| &one.all),
            internal: choice(|one| &one.internal),
            external: choice(|one| &one.external),
            source_ranges: Delta::between(&old.source_ranges, &new.source_ranges),
            rules: if change == Fate::Changed { rules(old, new) } else { Vec::new() },
        })
    }
}

fn rules(before: &Served, after: &Served) -> Vec<Rule> {
    let seconds = |seconds: u32| match seconds {
        0 => "none".to_owned(),
        seconds => format!("{seconds} s"),
    };
    let name = |one: Option<Algorithm>| one.map_or("none".to_owned(), |one| one.to_string());
    let clients = |choice: &Choice| choice.when_empty().to_owned();
    let all = [
        ("affinity", seconds(before.affinity), seconds(after.affinity)),
        ("algorithm", name(before.algorithm), name(after.algorithm)),
        ("internal clients", clients(&before.internal), clients(&after.internal)),
        ("external clients", clients(&before.external), clients(&after.external)),
    ];
    let differ = all.into_iter().filter(|(_, before, after)| before != after);
    differ.map(|(what, before, after)| Rule { what, before, after }).collect()
}

/// What is different, service by service; those that stay as they are are left out.
pub fn differences(
    before: &BTreeMap<ServiceKey, Served>,
    after: &BTreeMap<ServiceKey, Served>,
) -> Vec<Difference> {
    let keys: BTreeSet<&ServiceKey> = before.keys().chain(after.keys()).collect();
    let each = keys.into_iter();
    each.filter_map(|key| Difference::between(key, before.get(key), after.get(key))).collect()
}

#[cfg(test)]
mod tests;
