//! Algorithms by the numbers that the programs know them by.

use lb_common::tables::Algorithm as Number;

use crate::model::Algorithm;

/// An algorithm's number.
pub(super) const fn number(algorithm: Algorithm) -> Number {
    match algorithm {
        Algorithm::Random => Number::RANDOM,
        Algorithm::RoundRobin => Number::ROUND_ROBIN,
        Algorithm::LeastConnection => Number::LEAST_CONNECTION,
        Algorithm::SourceHash => Number::SOURCE_HASH,
        Algorithm::DestinationHash => Number::DESTINATION_HASH,
        Algorithm::ShortestExpectedDelay => Number::SHORTEST_EXPECTED_DELAY,
        Algorithm::NeverQueue => Number::NEVER_QUEUE,
        Algorithm::Maglev => Number::MAGLEV,
    }
}

/// The algorithm with a number, if it is one of ours.
pub fn named(number_found: Number) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| number(*algorithm) == number_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_has_a_number_of_its_own() {
        for algorithm in Algorithm::ALL {
            assert_eq!(named(number(algorithm)), Some(algorithm));
        }
        assert_eq!(named(Number(255)), None);
    }
}
