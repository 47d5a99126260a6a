//! The clients: threads with plain blocking sockets, which open, send a byte, get one, and wait for the close.
//!
//! Each has a source address of its own, and the pod's range of ports is wide: hardly a connection has the
//! ports and addresses of one before it, whose end the node may still remember.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_tests::lab::Namespace;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

use super::machine::busy_time;

/// How long an answer may take; opening is bounded by the namespace's `tcp_syn_retries`.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Whom the clients talk to.
#[derive(Clone, Copy)]
pub struct Target {
    /// The address.
    pub address: SocketAddrV4,
    /// What the one backend answers that may answer there.
    pub name: u8,
}

/// What some clients saw in a while.
pub struct Round {
    /// Whole exchanges in a second, of all clients together.
    pub rate: f64,
    /// How long an exchange took, in microseconds: half, 99 % and 99.9 % took no longer.
    pub quantiles: [f64; QUANTILES.len()],
    /// What all processors spent on a thousand exchanges, in seconds.
    pub processors: f64,
}

/// The parts of all exchanges that the quantiles are of.
pub const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Lets a client run for a while at each of these addresses of a namespace. Fails with the first exchange that does.
pub fn round(
    namespace: &Namespace,
    sources: &[Ipv4Addr],
    target: Target,
    time: Duration,
) -> Result<Round> {
    let start = Barrier::new(sources.len() + 1);
    let failed = AtomicBool::new(false);
    let client = |source: Ipv4Addr| -> Result<Vec<Duration>> {
        let inside = namespace.enter();
        start.wait();
        let _inside = inside?;
        let end = Instant::now() + time;
        let mut times = Vec::new();
        while Instant::now() < end && !failed.load(Ordering::Relaxed) {
            let began = Instant::now();
            exchange(source, target).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            times.push(began.elapsed());
        }
        Ok(times)
    };
    let (times, elapsed, busy) = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> =
            sources.iter().map(|source| scope.spawn(|| client(*source))).collect();
        start.wait();
        let (began, busy) = (Instant::now(), busy_time());
        let mut times = Vec::new();
        for client in clients {
            let Ok(seen) = client.join() else { bail!("a client panicked, see above") };
            times.extend(seen?);
        }
        let elapsed = began.elapsed();
        Ok((times, elapsed, busy_time()?.saturating_sub(busy?)))
    })?;
    summed(times, elapsed, busy)
}

fn summed(mut times: Vec<Duration>, elapsed: Duration, busy: Duration) -> Result<Round> {
    ensure!(!times.is_empty(), "not one exchange came to its end");
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
    let count = times.len() as f64;
    Ok(Round {
        rate: count / elapsed.as_secs_f64(),
        quantiles: QUANTILES.map(|(_, part)| quantile(&times, part).as_secs_f64() * 1e6),
        processors: busy.as_secs_f64() * 1e3 / count,
    })
}

/// The time that this part of the exchanges took at most.
fn quantile(sorted: &[Duration], part: f64) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a count of connections"
    )]
    let last = (sorted.len() as f64 * part).ceil() as usize;
    sorted[last.clamp(1, sorted.len()) - 1]
}

/// One connection from beginning to end.
fn exchange(source: Ipv4Addr, target: Target) -> Result<()> {
    let mut stream =
        open(source, target).with_context(|| format!("connecting to {}", target.address))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut answer = [0; 2];
    let answered = stream
        .write_all(b"?")
        .and_then(|()| stream.read_exact(&mut answer[..1]))
        .and_then(|()| stream.read(&mut answer[1..]));
    let more = answered.with_context(|| format!("no answer from {}", target.address))?;
    ensure!(
        more == 0 && answer[0] == target.name,
        "{} was to answer {:?} and to close, but it said {:?}",
        target.address,
        char::from(target.name),
        String::from_utf8_lossy(&answer[..=more]),
    );
    Ok(())
}

/// What std's `connect` does, from a certain address and any port.
fn open(source: Ipv4Addr, target: Target) -> nix::Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The port is chosen in `connect`: else there would be no more of them than one target can have.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(target.address))?;
    Ok(socket.into())
}
