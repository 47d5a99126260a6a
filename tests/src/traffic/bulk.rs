//! Many short connections, and the count of who answered them.
//!
//! Each request is a connection of its own. Over TCP the *server* closes first: the end that closes
//! first keeps the connection in `TIME_WAIT` for a minute. Were that the client, every connect would have
//! to search its 28,000 ports for one that has been waiting for at least a second
//! (`tcp_tw_reuse`), and above 28,000 connections a second there would be none. At the servers the
//! waiting connections are spread over all of them and in nobody's way: a new SYN on one of them opens
//! it anew, because its timestamp is newer (RFC 6191).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Protocol;
use super::client::{Answer, Session};
use super::error::{Error, Result};
use crate::lab::Namespace;
use crate::patience::patient;

/// After so many failures the rest is skipped: 100,000 time-outs would take hours and say no more.
pub const MAX_FAILURES: u64 = 200;

/// How long one step of a request may take. Longer than the kernel takes to send a lost SYN again
/// (1 s, then 2 s), so that one lost packet is seen in [`Tally::slowest`] and not as a failure.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Who answered how often, and what failed.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers by the name of the server.
    pub answers: BTreeMap<String, u64>,
    /// Answers by the client's address as the server saw it.
    pub peers: BTreeMap<IpAddr, u64>,
    /// Requests that were not answered.
    pub failures: Vec<Error>,
    /// Requests that were not sent because too many before had failed.
    pub skipped: u64,
    /// How long the slowest answer took, its connection included.
    pub slowest: Duration,
    /// How often each source address and port got an answer; see [`Tally::sum_of_squares`].
    sources: HashMap<SocketAddr, u64>,
}

impl Tally {
    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// From how many different source addresses and ports the answered requests came.
    pub fn distinct_sources(&self) -> usize {
        self.sources.len()
    }

    /// The sum, over all sources, of the square of how often each was answered: as large as the number
    /// of answers if no source came twice.
    pub(super) fn sum_of_squares(&self) -> u64 {
        self.sources.values().map(|times| times * times).sum()
    }

    /// How far the difference of two servers' answers may be from 0, as a standard deviation, if each
    /// source's answers all go to one of the two by a toss-up.
    #[expect(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
    pub fn deviation_of_a_toss_up(&self) -> f64 {
        (self.sum_of_squares() as f64).sqrt()
    }

    /// Panics, with examples, unless every request was answered.
    pub fn assert_all_answered(&self) {
        assert!(self.failures.is_empty() && self.skipped == 0, "not all were answered: {self}");
    }

    /// Counts the outcome of one request.
    pub(super) fn record(&mut self, outcome: Result<(Answer, SocketAddr)>, took: Duration) {
        match outcome {
            Ok((answer, source)) => {
                *self.answers.entry(answer.name).or_default() += 1;
                *self.peers.entry(answer.peer.ip()).or_default() += 1;
                *self.sources.entry(source).or_default() += 1;
                self.slowest = self.slowest.max(took);
            }
            Err(error) => self.failures.push(error),
        }
    }

    /// Both together.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        add(&mut self.answers, other.answers);
        add(&mut self.peers, other.peers);
        for (source, times) in other.sources {
            *self.sources.entry(source).or_default() += times;
        }
        self.failures.extend(other.failures);
        self.skipped += other.skipped;
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key).or_default() += count;
    }
}

/// One line: `b1 502, b2 498; failed 2 (TCP to …: …; …), skipped 0; slowest 3ms`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXAMPLES: usize = 3;
        let names: Vec<_> = self.answers.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let examples: Vec<_> =
            self.failures.iter().take(EXAMPLES).map(ToString::to_string).collect();
        let names = if names.is_empty() { "no answer".to_owned() } else { names.join(", ") };
        write!(f, "{names}; failed {}", self.failures.len())?;
        if !examples.is_empty() {
            write!(f, " ({})", examples.join("; "))?;
        }
        write!(f, ", skipped {}; slowest {:?}", self.skipped, self.slowest)
    }
}

/// Sends `count` requests to `target` from inside `namespace`, on a connection each, `parallel` at a
/// time. Never fails as a whole: what fails is in the tally. Stops early after [`MAX_FAILURES`].
pub fn many(
    namespace: &Namespace,
    protocol: Protocol,
    target: SocketAddr,
    count: u64,
    parallel: usize,
) -> Tally {
    let work = Work { left: AtomicU64::new(count), failed: AtomicU64::new(0) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..parallel.max(1))
            .map(|_| scope.spawn(|| work.run(namespace, protocol, target)))
            .collect();
        let finished = workers
            .into_iter()
            .map(|worker| {
                worker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
            })
            .fold(Tally::default(), Tally::merge);
        Tally { skipped: work.left.load(Ordering::Relaxed), ..finished }
    })
}

/// What the workers share.
struct Work {
    left: AtomicU64,
    failed: AtomicU64,
}

impl Work {
    fn run(&self, namespace: &Namespace, protocol: Protocol, target: SocketAddr) -> Tally {
        let mut tally = Tally::default();
        let _inside = match namespace.enter() {
            Ok(inside) => inside,
            Err(error) => {
                tally.failures.push(error.into());
                return tally;
            }
        };
        while self.take() {
            let began = Instant::now();
            let outcome = request_here(protocol, target);
            if outcome.is_err() {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            tally.record(outcome, began.elapsed());
        }
        tally
    }

    /// Takes one request off what is left, if there is any and it is worth sending.
    fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        self.failed.load(Ordering::Relaxed) < MAX_FAILURES
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

fn request_here(protocol: Protocol, target: SocketAddr) -> Result<(Answer, SocketAddr)> {
    let session = Session::open_here(protocol, target, patient(TIMEOUT))?;
    let source = session.local();
    Ok((session.finish()?, source))
}
