//! Rounds in which cases alternate, so that what drifts on a machine drifts for all of them. What is made of
//! the rounds is a [`Figure`].

use anyhow::{Context as _, Result, ensure};

use super::{Context, Figure};

/// Something that is measured in turn with others.
pub trait Named {
    /// What people call it.
    fn name(&self) -> String;
}

impl Named for &str {
    fn name(&self) -> String {
        (*self).to_owned()
    }
}

impl Context {
    /// Runs the cases in turn, `rounds` times, every second round backwards, after one round that isn't recorded.
    /// One figure a case, in order.
    ///
    /// Fails with the first case that does, and when a signal came in.
    pub fn interleave<C: Named>(
        &self,
        what: &str,
        cases: &mut [C],
        mut run: impl FnMut(&mut C) -> Result<f64>,
    ) -> Result<Vec<Figure>> {
        ensure!(!cases.is_empty(), "{what}: there is nothing to measure");
        let mut recorded = vec![Vec::with_capacity(self.rounds); cases.len()];
        let spinner = self.bar(what, cases.len() * (self.rounds + 1));
        for round in 0..=self.rounds {
            for case in order(round, cases.len()) {
                self.check()?;
                let name = cases[case].name();
                spinner.bar.set_message(match round {
                    0 => format!("{what}: {name}, warming up"),
                    _ => format!("{what}: {name}, round {round} of {}", self.rounds),
                });
                let value = run(&mut cases[case]).with_context(|| format!("{what}: {name}"))?;
                if round > 0 {
                    recorded[case].push(value);
                }
                spinner.bar.inc(1);
            }
        }
        let figures = cases.iter().zip(recorded).map(|(case, rounds)| {
            Figure::of(rounds).with_context(|| format!("{what}: {}", case.name()))
        });
        figures.collect()
    }
}

/// The order of the cases in a round; round 0 isn't recorded.
fn order(round: usize, cases: usize) -> impl Iterator<Item = usize> {
    let backwards = round > 0 && round.is_multiple_of(2);
    (0..cases).map(move |case| if backwards { cases - 1 - case } else { case })
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::atomic::Ordering};

    use super::*;

    fn context(rounds: usize) -> Context {
        Context::new(rounds, false, PathBuf::new())
    }

    #[test]
    fn every_second_round_runs_backwards_and_the_first_is_not_recorded() -> Result<()> {
        let mut seen = String::new();
        let mut calls = 0.0;
        let mut cases = ["a", "b", "c"];
        let figures = context(3).interleave("letters", &mut cases, |case| {
            seen += case;
            calls += 1.0;
            Ok(calls)
        })?;
        assert_eq!(seen, "abcabccbaabc");
        let rounds: Vec<_> = figures.into_iter().map(|figure| figure.rounds).collect();
        assert_eq!(rounds, [[4.0, 9.0, 10.0], [5.0, 8.0, 11.0], [6.0, 7.0, 12.0]]);
        Ok(())
    }

    #[test]
    fn a_case_that_fails_or_measures_nothing_is_named() {
        let failing = context(2).interleave("w", &mut ["good", "bad"], |case| {
            ensure!(*case != "bad", "the sink saw nothing");
            Ok(1.0)
        });
        let text = failing.map_err(|error| format!("{error:#}"));
        assert_eq!(text, Err("w: bad: the sink saw nothing".to_owned()));

        let nothing = context(2).interleave("w", &mut ["good", "bad"], |case| {
            Ok(if *case == "bad" { f64::NAN } else { 1.0 })
        });
        let text = nothing.map_err(|error| format!("{error:#}")).unwrap_err();
        assert!(text.starts_with("w: bad: round 1 gave NaN"), "{text}");
    }

    #[test]
    fn without_rounds_or_cases_there_is_no_figure() {
        assert!(context(0).interleave("w", &mut ["a"], |_| Ok(1.0)).is_err());
        assert!(context(1).interleave("w", &mut <[&str; 0]>::default(), |_| Ok(1.0)).is_err());
    }

    #[test]
    fn a_signal_ends_the_rounds_after_the_case_that_runs() {
        let context = context(5);
        let flag = context.interrupted();
        let mut calls = 0;
        let ended = context.interleave("w", &mut ["a", "b"], |_| {
            calls += 1;
            flag.store(calls == 3, Ordering::Relaxed);
            Ok(1.0)
        });
        assert_eq!(ended.map_err(|error| error.to_string()), Err("interrupted".to_owned()));
        assert_eq!(calls, 3);
    }
}
