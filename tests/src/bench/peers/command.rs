//! Runs the peers' tools in a namespace, and says how long they took.

use std::{
    io::{self, Write as _},
    process::{ChildStdin, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::Command;
use crate::lab::Namespace;

/// How much of a tool's complaints is shown: one that doesn't like a line tends not to like the others.
const COMPLAINTS: usize = 20;

/// Runs them one after the other; the time of all together.
pub(super) fn run_all(namespace: &Namespace, commands: &[Command]) -> Result<Duration> {
    commands.iter().map(|command| run(namespace, command)).sum()
}

fn run(namespace: &Namespace, (words, input): &Command) -> Result<Duration> {
    let name = words.join(" ");
    let (program, arguments) = words.split_first().context("a command of no words")?;
    let mut command = namespace.command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("can't start `{name}`"))?;
    let stdin = child.stdin.take().context("its standard input is a pipe")?;
    let (written, output) = thread::scope(|scope| {
        // Both at once: a tool may complain before it has read everything.
        let writer = scope.spawn(|| write(stdin, input));
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    let took = began.elapsed();
    let output = output.with_context(|| format!("can't wait for `{name}`"))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        let complaints: Vec<&str> = complaints.lines().take(COMPLAINTS).collect();
        bail!("`{name}` ended with {}:\n{}", output.status, complaints.join("\n"));
    }
    match written {
        Ok(written) => written.with_context(|| format!("`{name}` didn't read everything"))?,
        Err(_) => bail!("the thread that writes to `{name}` panicked"),
    }
    Ok(took)
}

/// The pipe is closed afterwards.
fn write(mut stdin: ChildStdin, input: &str) -> io::Result<()> {
    stdin.write_all(input.as_bytes())
}
