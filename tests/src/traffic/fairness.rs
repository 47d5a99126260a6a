//! Whether the shares that backends got are what chance allows.
//!
//! Each of n connections goes to one of k backends with probability p = 1/k, so a backend's count is
//! binomial, with mean np and standard deviation σ = √(n p (1 − p)), and for np ≥ 20 close to normal.
//! A fair balancer strays further than 5σ once in two million counts, so the check practically never
//! fails by accident, and yet it notices a share that is off by 5σ: one percent of all for n = 50,000.
//!
//! One thing more: a balancer that hashes addresses and ports sends the same source to the same backend
//! every time. If 100,000 connections come from 28,000 ports, they are not 100,000 throws of the dice.
//! With mᵢ the number of connections from source i, the variance is p (1 − p) Σ mᵢ², which is what is
//! used here; it is n p (1 − p) when no source comes twice.

use super::bulk::Tally;

/// How many standard deviations a count may be away from its mean.
const SIGMAS: f64 = 5.0;

/// How many different sources each backend must be able to expect for the check to mean anything.
const LEAST_PER_BACKEND: usize = 20;

/// In what way a tally is not fair.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfair {
    /// Somebody answered who should not have.
    #[error("{name} answered {count} times and is none of the expected backends")]
    Unexpected {
        /// Who.
        name: String,
        /// How often.
        count: u64,
    },
    /// A backend's count is further from the mean than chance allows.
    #[error("{name} answered {count} times; chance allows {mean:.0} ± {allowed:.0}")]
    Share {
        /// Who.
        name: String,
        /// How often.
        count: u64,
        /// How often it should have been.
        mean: f64,
        /// How far it may be away from that.
        allowed: f64,
    },
    /// Nothing can be said about so few.
    #[error("{sources} different sources are too few to judge {backends} backends by; send more")]
    TooFew {
        /// How many different sources were answered.
        sources: usize,
        /// Over how many backends.
        backends: usize,
    },
}

/// Checks that exactly the `expected` backends answered, and each got its equal share of the answers
/// within five standard deviations. Failed requests count for nobody.
pub fn check_fair(tally: &Tally, expected: &[&str]) -> Result<(), Unfair> {
    let share = 1.0 / real(expected.len().max(1) as u64);
    check_shares(tally, &expected.iter().map(|name| (*name, share)).collect::<Vec<_>>())
}

/// The same for backends each of which is to get a share of its own; together they make 1.
pub fn check_shares(tally: &Tally, expected: &[(&str, f64)]) -> Result<(), Unfair> {
    let (sources, backends) = (tally.distinct_sources(), expected.len());
    if backends == 0 || sources < LEAST_PER_BACKEND * backends {
        return Err(Unfair::TooFew { sources, backends });
    }
    let is_expected = |name: &String| expected.iter().any(|(other, _)| other == name);
    if let Some((name, count)) = tally.answers.iter().find(|(name, _)| !is_expected(name)) {
        return Err(Unfair::Unexpected { name: name.clone(), count: *count });
    }

    for (name, share) in expected {
        let mean = real(tally.answered()) * share;
        let allowed = SIGMAS * (share * (1.0 - share) * real(tally.sum_of_squares())).sqrt();
        let count = tally.answers.get(*name).copied().unwrap_or(0);
        if (real(count) - mean).abs() > allowed {
            return Err(Unfair::Share { name: (*name).to_owned(), count, mean, allowed });
        }
    }
    Ok(())
}

/// Panics unless [`check_fair`] is satisfied.
pub fn assert_fair(tally: &Tally, expected: &[&str]) {
    if let Err(unfair) = check_fair(tally, expected) {
        panic!("{unfair}\nall: {tally}");
    }
}

/// Panics unless [`check_shares`] is satisfied.
pub fn assert_shares(tally: &Tally, expected: &[(&str, f64)]) {
    if let Err(unfair) = check_shares(tally, expected) {
        panic!("{unfair}\nall: {tally}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::traffic::Answer;

    /// A tally of `counts` answers, in which every source comes `repeats` times.
    fn tally(counts: &[(&str, u64)], repeats: u64) -> Tally {
        let mut tally = Tally::default();
        let mut sent = 0;
        for (name, count) in counts {
            for _ in 0..*count {
                let port = u16::try_from(sent / repeats).expect("few enough for a port each");
                let peer = SocketAddr::from(([192, 0, 2, 10], port));
                tally.record(Ok((Answer { name: (*name).into(), peer }, peer)), Duration::ZERO);
                sent += 1;
            }
        }
        tally
    }

    #[test]
    fn shares_within_five_sigma_are_fair_and_beyond_are_not() {
        // n = 10,000, p = 1/2: σ = 50.
        assert_eq!(check_fair(&tally(&[("a", 5_249), ("b", 4_751)], 1), &["a", "b"]), Ok(()));
        let unfair = check_fair(&tally(&[("a", 5_251), ("b", 4_749)], 1), &["a", "b"]);
        assert!(matches!(unfair, Err(Unfair::Share { .. })), "{unfair:?}");
    }

    #[test]
    fn repeated_sources_widen_what_chance_allows() {
        let counts = [("a", 5_400), ("b", 4_600)];
        assert!(check_fair(&tally(&counts, 1), &["a", "b"]).is_err());
        assert_eq!(check_fair(&tally(&counts, 4), &["a", "b"]), Ok(()));
    }

    #[test]
    fn a_backend_that_never_answers_and_one_that_should_not_are_both_found() {
        let one = tally(&[("a", 1_000)], 1);
        assert!(matches!(check_fair(&one, &["a", "b"]), Err(Unfair::Share { .. })));
        let strange = tally(&[("a", 500), ("x", 500)], 1);
        let expected = Unfair::Unexpected { name: "x".into(), count: 500 };
        assert_eq!(check_fair(&strange, &["a", "b"]), Err(expected));
    }

    #[test]
    fn each_backend_is_judged_by_its_own_share() {
        // n = 10,000, p = 4/5: σ = 40.
        let shares = [("a", 0.8), ("b", 0.2)];
        assert_eq!(check_shares(&tally(&[("a", 8_199), ("b", 1_801)], 1), &shares), Ok(()));
        let unfair = check_shares(&tally(&[("a", 8_201), ("b", 1_799)], 1), &shares);
        assert!(matches!(unfair, Err(Unfair::Share { .. })), "{unfair:?}");
        assert!(check_shares(&tally(&[("a", 5_000), ("b", 5_000)], 1), &shares).is_err());
    }

    #[test]
    fn a_handful_of_answers_is_not_judged() {
        let few = tally(&[("a", 2), ("b", 2)], 1);
        let expected = Unfair::TooFew { sources: 4, backends: 2 };
        assert_eq!(check_fair(&few, &["a", "b"]), Err(expected));
    }
}
