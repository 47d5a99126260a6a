//! How long things may take where the tests run. On the emulated processor of a virtual machine
//! everything takes longer, and only that: `LB_PATIENCE=8` allows eight times as much, and
//! `LB_CONNECTIONS=5000` makes the tests of many connections smaller, `LB_MEGABYTES=2` the long transfers. What is expected not to happen
//! is waited for with the same factor.

use std::{env, time::Duration};

/// How many connections, unless the environment says otherwise.
const CONNECTIONS: u64 = 100_000;

/// How many million bytes the long transfers send each way, unless the environment says otherwise.
const MEGABYTES: u64 = 100;

/// A deadline that suits an ordinary machine, as long as it has to be on this one.
pub fn patient(deadline: Duration) -> Duration {
    deadline * u32::try_from(number("LB_PATIENCE").unwrap_or(1)).unwrap_or(u32::MAX)
}

/// How many connections the tests of many connections make.
pub fn connections() -> u64 {
    number("LB_CONNECTIONS").unwrap_or(CONNECTIONS)
}

/// How many bytes the long transfers send each way.
pub fn transfer_bytes() -> u64 {
    number("LB_MEGABYTES").unwrap_or(MEGABYTES) * 1_000_000
}

/// A number from the environment, if it is set: one that can't be read is a mistake of the caller.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(number) if number > 0 => Some(number),
        _ => panic!("{name} is {text:?}, and must be a number of 1 or more"),
    }
}
