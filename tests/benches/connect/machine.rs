//! How long the machine's processors were busy, all of them and with whatever they did: what a connection costs
//! is spread over clients, backends, interrupts and the load balancer.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// What `/proc/stat` counts in: `USER_HZ`, which is 100 wherever `lb` runs, whatever the kernel's own rate is.
const TICKS_A_SECOND: u64 = 100;

/// The processors' time since boot, summed over them, but for idling, waiting and what the hypervisor took.
pub fn busy_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let ticks =
        busy_ticks(&text).context("/proc/stat doesn't begin with the sum of all processors")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// Which part of all processors' time others use, while this process does nothing for as long: figures of a machine
/// that is at work are noisy.
pub fn busy_share(time: Duration) -> Result<f64> {
    let (before, began) = (busy_time()?, Instant::now());
    thread::sleep(time); // tidy: nothing is waited for, the machine is watched
    let busy = busy_time()?.saturating_sub(before);
    let processors = u32::try_from(thread::available_parallelism()?.get())?;
    Ok(busy.as_secs_f64() / (began.elapsed() * processors).as_secs_f64())
}

/// `cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL …`; the guests' are in USER already.
fn busy_ticks(stat: &str) -> Result<u64> {
    let mut words = stat.lines().next().context("empty")?.split_whitespace();
    ensure!(words.next() == Some("cpu"), "no line of that name");
    let ticks = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        bail!("too few numbers");
    };
    Ok(user + nice + system + irq + softirq)
}
