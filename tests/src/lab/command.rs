//! Runs the system's tools and turns their failure into an error that shows what they were told.
//!
//! Only one-shot commands belong here; long-running processes are the tests' own.

use std::io::Write;
use std::process::{Command, Stdio};

use super::error::{Error, Result};

/// Runs `command` to its end and returns what it wrote to its standard output.
pub(super) fn run(command: Command) -> Result<String> {
    feed(command, "")
}

/// Runs the lines of `script` as `ip` commands in one process, `ip OPTIONS -batch -`, which is what
/// makes a whole cluster come up in a fraction of a second. Stops at the first line that fails; the
/// error names its number. Does nothing for an empty script.
pub(super) fn ip_batch(options: &[&str], script: &str) -> Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]);
    feed(command, script).map(drop)
}

fn feed(mut command: Command, input: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let start = |source| Error::Start { program: program.clone(), source };

    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has already failed no longer reads; its own message says more than EPIPE.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed {
        command: line,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        input: input.to_owned(),
    })
}
