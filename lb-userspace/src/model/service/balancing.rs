//! How a Service's flows are spread over its endpoints: annotations of ours, as Kubernetes has no field for it.
//! The algorithms are those of kube-proxy's ipvs mode, by the same short names too.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::{
    address,
    invalid::{Findings, Rule},
};

/// A Service's algorithm.
const ALGORITHM: &str = "lb.dev/algorithm";
/// A Service's weights, by the endpoints' addresses.
const WEIGHTS: &str = "lb.dev/weights";
/// The weight of a pod, or of all endpoints of a slice.
const WEIGHT: &str = "lb.dev/weight";

/// Every name of an algorithm, as it is told to who writes another one.
const NAMES: &[&str] = &[
    "random",
    "round-robin",
    "least-connection",
    "source-hash",
    "destination-hash",
    "shortest-expected-delay",
    "never-queue",
    "maglev",
    "rr",
    "wrr",
    "lc",
    "wlc",
    "sh",
    "dh",
    "sed",
    "nq",
    "mh",
];

/// How endpoints are chosen for new flows. Weights count with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// By chance, which is a hash of the whole tuple.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest open flows.
    LeastConnection,
    /// By the client's address.
    SourceHash,
    /// By the address that the client asks.
    DestinationHash,
    /// The one that would have the fewest open flows with this one.
    ShortestExpectedDelay,
    /// The same, but one that has none goes first.
    NeverQueue,
    /// By the client's address, moving few clients when endpoints come and go.
    Maglev,
}

/// How a Service wants its flows spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancing {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// Weights of endpoints, which count more than what pods and slices say themselves.
    pub weights: BTreeMap<IpAddr, u16>,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Random,
        Self::RoundRobin,
        Self::LeastConnection,
        Self::SourceHash,
        Self::DestinationHash,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::Maglev,
    ];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LeastConnection => "least-connection",
            Self::SourceHash => "source-hash",
            Self::DestinationHash => "destination-hash",
            Self::ShortestExpectedDelay => "shortest-expected-delay",
            Self::NeverQueue => "never-queue",
            Self::Maglev => "maglev",
        }
    }

    fn parse(text: &str) -> Result<Self, Rule> {
        let long = match text {
            "rr" | "wrr" => "round-robin",
            "lc" | "wlc" => "least-connection",
            "sh" => "source-hash",
            "dh" => "destination-hash",
            "sed" => "shortest-expected-delay",
            "nq" => "never-queue",
            "mh" => "maglev",
            other => other,
        };
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == long);
        found.ok_or_else(|| Rule::Unsupported { value: text.to_owned(), supported: NAMES })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub(super) fn read(metadata: &ObjectMeta, findings: &mut Findings) -> Balancing {
    let algorithm = annotation(metadata, ALGORITHM)
        .and_then(|text| findings.check(field(ALGORITHM), Algorithm::parse(text)));
    let weights = annotation(metadata, WEIGHTS)
        .and_then(|text| findings.check(field(WEIGHTS), weights(text)));
    Balancing { algorithm: algorithm.unwrap_or_default(), weights: weights.unwrap_or_default() }
}

/// The weight that a pod or a slice says that its endpoints have; 1 if it says none.
pub(in crate::model) fn weight(metadata: &ObjectMeta, findings: &mut Findings) -> u16 {
    let written = annotation(metadata, WEIGHT).and_then(|text| {
        let must = "must be a whole number from 0 (no new flows) to 65535";
        findings.check(field(WEIGHT), text.parse().map_err(|_| Rule::invalid_text(text, must)))
    });
    written.unwrap_or(1)
}

fn weights(text: &str) -> Result<BTreeMap<IpAddr, u16>, Rule> {
    let mut weights = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let must = "must be an endpoint's address and its weight, a whole number from 0 (no new flows) to \
                    65535; several separated by commas, such as `10.244.1.1=3, 10.244.2.1=1`";
        let wrong = || Rule::invalid_text(entry, must);
        let (address, weight) = entry.split_once('=').ok_or_else(wrong)?;
        let address = address::parse(address.trim()).map_err(|_| wrong())?;
        let weight = weight.trim().parse().map_err(|_| wrong())?;
        if weights.insert(address, weight).is_some() {
            return Err(Rule::Duplicate { value: format!("\"{address}\"") });
        }
    }
    Ok(weights)
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(|text| text.trim())
}

fn field(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(name: &str, text: &str) -> ObjectMeta {
        let annotations = BTreeMap::from([(name.to_owned(), text.to_owned())]);
        ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() }
    }

    fn read_one(name: &str, text: &str) -> Result<Balancing, String> {
        let mut findings = Findings::default();
        let read = read(&metadata(name, text), &mut findings);
        findings.into_result(read).map_err(|refused| refused.to_string())
    }

    #[test]
    fn every_name_is_an_algorithm_and_each_algorithm_has_its_own() {
        for name in NAMES {
            assert!(Algorithm::parse(name).is_ok(), "{name}");
        }
        for algorithm in Algorithm::ALL {
            let read = read_one(ALGORITHM, &format!(" {algorithm} ")).unwrap();
            assert_eq!(read.algorithm, algorithm);
        }
        for (short, long) in [("wrr", Algorithm::RoundRobin), ("wlc", Algorithm::LeastConnection)] {
            assert_eq!(Algorithm::parse(short), Ok(long));
        }
        let shorts = ["rr", "lc", "sh", "dh", "sed", "nq", "mh"].map(Algorithm::parse);
        assert_eq!(
            shorts.to_vec(),
            Algorithm::ALL[1..].iter().copied().map(Ok).collect::<Vec<_>>()
        );
    }

    #[test]
    fn without_annotations_it_is_chance_and_nobody_weighs_more() {
        let mut findings = Findings::default();
        assert_eq!(read(&ObjectMeta::default(), &mut findings), Balancing::default());
        assert_eq!(weight(&ObjectMeta::default(), &mut findings), 1);
        assert_eq!(findings.into_result(()), Ok(()));
    }

    #[test]
    fn an_unknown_algorithm_is_named_with_those_that_there_are() {
        let wrong = read_one(ALGORITHM, "lblc").unwrap_err();
        let expected = "metadata.annotations[lb.dev/algorithm]: Unsupported value: \"lblc\": supported \
                        values: \"random\", \"round-robin\", ";
        assert!(wrong.starts_with(expected) && wrong.ends_with("\"mh\""), "{wrong}");
    }

    #[test]
    fn weights_are_read_by_address_and_what_is_none_is_named() {
        let read = read_one(WEIGHTS, "10.244.1.1=3,fd00::1 = 0, ").unwrap();
        let expected = [("10.244.1.1", 3), ("fd00::1", 0)];
        let expected = expected.map(|(address, weight)| (address.parse().unwrap(), weight));
        assert_eq!(read.weights, BTreeMap::from(expected));
        for bad in ["10.244.1.1", "web-1=3", "10.244.1.1=-1", "10.244.1.1=65536", "10.244.1.1=1.5"]
        {
            let wrong = read_one(WEIGHTS, &format!("10.244.9.9=1, {bad}")).unwrap_err();
            let expected =
                format!("metadata.annotations[lb.dev/weights]: Invalid value: \"{bad}\": ");
            assert!(wrong.starts_with(&expected), "{wrong}");
        }
        let wrong = read_one(WEIGHTS, "10.244.1.1=1, 10.244.1.1=2").unwrap_err();
        assert!(wrong.ends_with("Duplicate value: \"10.244.1.1\""), "{wrong}");
    }

    #[test]
    fn a_weight_of_ones_own_is_a_whole_number() {
        let mut findings = Findings::default();
        assert_eq!(weight(&metadata(WEIGHT, "65535"), &mut findings), 65_535);
        assert_eq!(weight(&metadata(WEIGHT, "0"), &mut findings), 0);
        assert_eq!(weight(&metadata(WEIGHT, "much"), &mut findings), 1);
        let wrong = findings.into_refused().to_string();
        assert!(wrong.starts_with("metadata.annotations[lb.dev/weight]: Invalid value: \"much\""));
    }
}
