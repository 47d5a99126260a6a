//! Whether the control program does its work: it goes on, and what it is told comes into force. kube-proxy's
//! measure is the same (`ProxyHealthServer.isHealthy`), but for a program that hangs.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the control program may be silent. It beats every ten seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// What is known of the control program.
#[derive(Debug)]
pub struct Pulse {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When it was last heard of.
    beat: Instant,
    /// Since when something is not in force that should be.
    behind: Option<Instant>,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether all is well.
    pub healthy: bool,
    /// For how long nothing new has come into force; nothing, if all is well.
    pub stale: Duration,
}

impl Pulse {
    /// One that was heard of just now.
    pub fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::new(State { beat: Instant::now(), behind: None }) }
    }

    /// It goes on. What was not in force may still not be.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Everything is in force.
    pub fn in_force(&self) {
        self.change(|state| *state = State { beat: Instant::now(), behind: None });
    }

    /// Something could not be brought into force.
    pub fn behind(&self) {
        self.behind_at(Instant::now());
    }

    /// Whether something is not in force.
    pub fn is_behind(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).behind.is_some()
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        self.condition_at(Instant::now())
    }

    fn beat_at(&self, now: Instant) {
        self.change(|state| state.beat = now);
    }

    fn behind_at(&self, now: Instant) {
        self.change(|state| {
            state.beat = now;
            state.behind.get_or_insert(now);
        });
    }

    fn condition_at(&self, now: Instant) -> Condition {
        let State { beat, behind } = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |then: Instant| now.saturating_duration_since(then);
        let late = behind.map(since).filter(|late| *late >= self.patience);
        let silent = Some(since(beat)).filter(|silent| *silent >= SILENCE);
        let stale = late.max(silent);
        Condition { healthy: stale.is_none(), stale: stale.unwrap_or_default() }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fresh() -> (Pulse, Instant) {
        (Pulse::new(SECOND * 5), Instant::now() + SECOND)
    }

    #[test]
    fn what_is_behind_for_too_long_is_ill_until_it_is_in_force() {
        let (pulse, now) = fresh();
        pulse.behind_at(now);
        assert!(pulse.condition_at(now + SECOND * 4).healthy);
        pulse.behind_at(now + SECOND * 4);
        let ill = pulse.condition_at(now + SECOND * 5);
        assert_eq!(
            ill,
            Condition { healthy: false, stale: SECOND * 5 },
            "the first failure counts"
        );
        pulse.beat_at(now + SECOND * 6);
        assert!(!pulse.condition_at(now + SECOND * 6).healthy, "to go on is not enough");
        pulse.in_force();
        assert!(pulse.condition_at(now + SECOND * 6).healthy);
    }

    #[test]
    fn silence_is_ill_and_the_next_beat_mends_it() {
        let (pulse, now) = fresh();
        pulse.beat_at(now);
        let late = now + SILENCE;
        assert!(!pulse.condition_at(late).healthy);
        pulse.beat_at(now + SECOND);
        assert!(pulse.condition_at(late).healthy);
    }
}
