//! A measured figure: the median of some rounds, and how far they lie apart. How rounds are run is in
//! `rounds`; how figures are written is in `text`.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Median, lowest and highest of some rounds, and the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The middle one, or half-way between the two in the middle.
    pub median: f64,
    /// The lowest round.
    pub lowest: f64,
    /// The highest round.
    pub highest: f64,
    /// All rounds, in the order in which they were run.
    pub rounds: Vec<f64>,
}

impl Figure {
    /// Of measured rounds. Fails if there are none, or if one is no measurement: not finite, or below zero.
    pub fn of(rounds: Vec<f64>) -> Result<Self> {
        ensure!(!rounds.is_empty(), "there are no rounds to make a figure of");
        for (number, round) in (1..).zip(&rounds) {
            ensure!(
                round.is_finite() && *round >= 0.0,
                "round {number} gave {round}, which is no measurement"
            );
        }
        Ok(Self::of_any(rounds))
    }

    /// What it is in other units or terms, round by round, for example `|packets| 1e9 / packets` for nanoseconds.
    #[must_use]
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::of_any(self.rounds.iter().copied().map(f).collect())
    }

    /// What it is above a floor that was measured in the same rounds. May be negative.
    ///
    /// # Panics
    /// If the floor has another number of rounds: then they were not the same.
    #[must_use]
    pub fn less(&self, floor: &Self) -> Self {
        assert_eq!(self.rounds.len(), floor.rounds.len(), "a floor that was measured elsewhere");
        let pairs = self.rounds.iter().zip(&floor.rounds);
        Self::of_any(pairs.map(|(round, floor)| round - floor).collect())
    }

    /// How many times the other one's median fits into this one's. Infinite or not a number if the other is zero.
    pub fn ratio(&self, other: &Self) -> f64 {
        self.median / other.median
    }

    /// Whether all of it can be written and drawn: `map` may have divided by zero.
    pub(super) fn is_finite(&self) -> bool {
        self.rounds.iter().all(|round| round.is_finite())
    }

    fn of_any(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self { median, lowest: sorted[0], highest: sorted[sorted.len() - 1], rounds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_spread_and_keeps_the_order_of_rounds() -> Result<()> {
        let odd = Figure::of(vec![3.0, 1.0, 20.0])?;
        assert_eq!((odd.median, odd.lowest, odd.highest), (3.0, 1.0, 20.0));
        assert_eq!(odd.rounds, [3.0, 1.0, 20.0]);
        let even = Figure::of(vec![4.0, 1.0, 2.0, 9.0])?;
        assert_eq!((even.median, even.lowest, even.highest), (3.0, 1.0, 9.0));
        Ok(())
    }

    #[test]
    fn what_is_no_measurement_makes_no_figure() {
        for rounds in [vec![], vec![1.0, f64::NAN], vec![f64::INFINITY], vec![2.0, -0.1]] {
            assert!(Figure::of(rounds.clone()).is_err(), "{rounds:?}");
        }
        assert!(Figure::of(vec![0.0]).is_ok());
    }

    #[test]
    fn marginal_figures_are_taken_round_by_round() -> Result<()> {
        let case = Figure::of(vec![10.0, 30.0, 20.0])?;
        let floor = Figure::of(vec![9.0, 31.0, 5.0])?;
        let marginal = case.less(&floor);
        assert_eq!(marginal.rounds, [1.0, -1.0, 15.0]);
        assert_eq!((marginal.median, marginal.lowest), (1.0, -1.0));
        Ok(())
    }

    #[test]
    fn a_map_that_turns_the_order_around_swaps_the_ends() -> Result<()> {
        let rate = Figure::of(vec![1.0, 2.0, 4.0])?;
        let time = rate.map(|rate| 4.0 / rate);
        assert_eq!((time.median, time.lowest, time.highest), (2.0, 1.0, 4.0));
        let slower = Figure::of(vec![8.0])?.ratio(&time);
        assert!((slower - 4.0).abs() < 1e-9, "{slower}");
        assert!(!Figure::of(vec![0.0])?.map(|zero| 1.0 / zero).is_finite());
        Ok(())
    }
}
