//! The kernel's jiffies: how long one lasts, and what time it is in them.

use std::{
    thread,
    time::{Duration, Instant},
};

use aya::programs::{TestRun as _, TestRunOptions};

use super::{DataplaneError, Programs};

/// Jiffies to wait for when their length is measured.
const MEASURED: u32 = 8;

/// What Linux can be built with.
const USUAL: [u32; 4] = [100, 250, 300, 1000];

/// The kernel's clock, as flows tell their age in it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Jiffies in a second.
    pub hz: u32,
}

impl Clock {
    /// Measures how long a jiffy lasts, which takes up to a tenth of a second: the kernel tells it
    /// nowhere.
    pub fn measure(programs: &mut Programs) -> Result<Self, DataplaneError> {
        let before = now(programs)?;
        let (began, first) = next_jiffy(programs, before)?;
        let (mut last, mut end) = (began, first);
        while last.wrapping_sub(began) < MEASURED {
            (last, end) = next_jiffy(programs, last)?;
        }
        let elapsed = end.duration_since(first).as_secs_f64();
        Ok(Self { hz: nearest(f64::from(last.wrapping_sub(began)) / elapsed) })
    }

    /// The time in jiffies; wraps.
    pub fn now(self, programs: &mut Programs) -> Result<u32, DataplaneError> {
        now(programs)
    }

    /// A duration in jiffies, at least one.
    pub fn jiffies(self, duration: Duration) -> u32 {
        let jiffies = duration.as_millis() * u128::from(self.hz) / 1000;
        u32::try_from(jiffies).unwrap_or(u32::MAX / 2).max(1)
    }
}

fn now(programs: &mut Programs) -> Result<u32, DataplaneError> {
    let failed = |source| DataplaneError::Clock { source: Box::new(source) };
    let program = programs.classifier("lb_clock").map_err(failed)?;
    // The kernel asks for a packet; the program doesn't look at it.
    let packet = [0; 64];
    let options = TestRunOptions { data_in: Some(&packet), ..TestRunOptions::new() };
    Ok(program.test_run(options).map_err(failed)?.return_value)
}

/// Waits until the clock shows another time than `old`.
fn next_jiffy(programs: &mut Programs, old: u32) -> Result<(u32, Instant), DataplaneError> {
    loop {
        let time = now(programs)?;
        if time != old {
            return Ok((time, Instant::now()));
        }
        thread::sleep(Duration::from_micros(50)); // tidy: waits for the clock itself
    }
}

/// The usual value that is closest, if one is within a tenth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
fn nearest(measured: f64) -> u32 {
    USUAL
        .into_iter()
        .find(|usual| (measured / f64::from(*usual) - 1.0).abs() < 0.09)
        .unwrap_or(measured.round().max(1.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_rate_becomes_the_usual_one_that_is_near() {
        for (measured, expected) in
            [(99.0, 100), (262.0, 250), (289.0, 300), (1049.0, 1000), (24.2, 24)]
        {
            assert_eq!(nearest(measured), expected);
        }
    }

    #[test]
    fn durations_become_jiffies() {
        let clock = Clock { hz: 250 };
        assert_eq!(clock.jiffies(Duration::from_secs(2)), 500);
        assert_eq!(clock.jiffies(Duration::from_micros(1)), 1);
    }
}
