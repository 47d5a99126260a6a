//! A running `lb` in a namespace, that goes away with everything it made, also when the thread that
//! started it is killed.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde_json::Value;

use crate::{lab::Namespace, patience::patient};

/// How long `lb` may take to come up, to follow a change, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const BPFFS: &str = "/sys/fs/bpf";
const RUN_DIR: &str = "/run/lb";

/// Where `lb run` keeps what Services were given.
const STATE_DIR: &str = "/var/lib/lb";
const PREFIX: &str = "lb-test-";

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started or asked.
    #[error("can't run lb")]
    Io(#[from] io::Error),
    /// The namespace could not be used.
    #[error("can't enter the namespace")]
    Namespace(#[from] crate::lab::Error),
    /// It ended when it should have come up.
    #[error("lb ended with {status}:\n{log}")]
    Ended {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote.
        log: String,
    },
    /// It did not become so in time.
    #[error("{what} did not happen in {:?}; lb wrote:\n{log}", patient(PATIENCE))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// What it wrote.
        log: String,
    },
    /// `lb status` failed.
    #[error("lb status failed: {0}")]
    Status(String),
}

/// A running `lb`.
#[derive(Debug)]
pub struct LoadBalancer {
    binary: PathBuf,
    instance: String,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    clean_up: bool,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name for an instance that no other test has.
pub fn fresh_instance() -> String {
    sweep();
    format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes what instances of tests that were killed have left behind.
fn sweep() {
    let entries = [BPFFS, STATE_DIR].into_iter().flat_map(fs::read_dir).flatten();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".redb").unwrap_or(&name).to_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Removes pins and state of an instance. Links that are pinned end with that.
pub fn remove(instance: &str) {
    // Whoever comes first of two that sweep removes it.
    let _ = fs::remove_dir_all(Path::new(BPFFS).join(instance));
    let _ = fs::remove_file(Path::new(RUN_DIR).join(format!("{instance}.json")));
    let _ = fs::remove_file(Path::new(STATE_DIR).join(format!("{instance}.redb")));
}

/// A command that runs `lb` in a namespace under an instance's name.
pub fn lb(namespace: &Namespace, binary: &Path, verb: &str, instance: &str) -> Command {
    let mut command = namespace.command(binary);
    command.args([verb, "--instance", instance]);
    command
}

/// What is said beside a test's own arguments: without a cgroup of its own it would see the whole machine's
/// sockets.
fn beside(arguments: &[&str]) -> &'static [&'static str] {
    let says = |option: &str| arguments.iter().any(|argument| argument.starts_with(option));
    if says("--cgroup") || says("--socket-lb") { &[] } else { &["--socket-lb", "off"] }
}

impl LoadBalancer {
    /// Starts `lb run` with these arguments as a fresh instance and waits until it is up.
    pub fn start(
        namespace: &Namespace,
        binary: &Path,
        arguments: &[&str],
    ) -> Result<Self, ProcessError> {
        Self::start_as(&fresh_instance(), namespace, binary, arguments)
    }

    /// The same as an instance that may have been there before.
    pub fn start_as(
        instance: &str,
        namespace: &Namespace,
        binary: &Path,
        arguments: &[&str],
    ) -> Result<Self, ProcessError> {
        let mut command = lb(namespace, binary, "run", instance);
        command.args(arguments).args(beside(arguments)).stdin(Stdio::null()).stderr(Stdio::piped());
        let end_with_us = || set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from);
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(end_with_us) };
        let mut child = command.spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || collect(stderr, &log))
        });
        let mut lb = Self {
            binary: binary.to_owned(),
            instance: instance.to_owned(),
            child,
            log,
            reader,
            clean_up: true,
        };
        lb.wait_until_up()?;
        Ok(lb)
    }

    fn wait_until_up(&mut self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait()? {
                if let Some(reader) = self.reader.take() {
                    let _ = reader.join();
                }
                return Err(ProcessError::Ended { status, log: self.log() });
            }
            let pid = u64::from(self.child.id());
            if self.status().is_ok_and(|status| status["pid"] == pid) {
                return Ok(());
            }
            self.look_again("coming up", deadline)?;
        }
    }

    fn look_again(&self, what: &str, deadline: Instant) -> Result<(), ProcessError> {
        if Instant::now() > deadline {
            return Err(ProcessError::TimedOut { what: what.to_owned(), log: self.log() });
        }
        thread::sleep(LOOK_AGAIN); // tidy: polls with a deadline
        Ok(())
    }

    /// Waits until its status fulfils a condition, and returns it.
    pub fn wait_for(
        &self,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value, ProcessError> {
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            let status = self.status()?;
            if condition(&status) {
                return Ok(status);
            }
            self.look_again(what, deadline)?;
        }
    }

    /// Waits until it has written some words.
    pub fn wait_for_log(&self, words: &str) -> Result<(), ProcessError> {
        let deadline = Instant::now() + patient(PATIENCE);
        while !self.log().contains(words) {
            self.look_again(words, deadline)?;
        }
        Ok(())
    }

    /// What `lb status` shows.
    pub fn status(&self) -> Result<Value, ProcessError> {
        let Output { status, stdout, stderr } = Command::new(&self.binary)
            .args(["status", "-o", "json", "--instance", &self.instance])
            .output()?;
        if !status.success() {
            return Err(ProcessError::Status(String::from_utf8_lossy(&stderr).into_owned()));
        }
        serde_json::from_slice(&stdout).map_err(|error| ProcessError::Status(error.to_string()))
    }

    /// A counter of its status.
    pub fn counter(&self, name: &str) -> Result<u64, ProcessError> {
        let status = self.status()?;
        status["counters"][name]
            .as_u64()
            .ok_or_else(|| ProcessError::Status(format!("there is no counter {name}")))
    }

    /// Its instance's name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Stops it as an operator would, and returns its exit status.
    pub fn stop(&mut self) -> Result<std::process::ExitStatus, ProcessError> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        if self.child.try_wait()?.is_none() {
            kill(pid, Signal::SIGTERM).map_err(io::Error::from)?;
        }
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.look_again("stopping", deadline)?;
        }
    }

    /// Kills it without a warning; what it pinned stays, for the next of this instance.
    pub fn kill(mut self) -> Result<String, ProcessError> {
        self.child.kill()?;
        self.child.wait()?;
        self.clean_up = false;
        Ok(self.instance.clone())
    }

    /// Leaves it running when this value goes.
    pub fn keep(mut self) -> String {
        self.clean_up = false;
        self.reader = None;
        self.instance.clone()
    }
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        if !self.clean_up {
            return;
        }
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        remove(&self.instance);
    }
}

fn collect(stderr: impl io::Read, log: &Mutex<String>) {
    for line in io::BufRead::lines(io::BufReader::new(stderr)).map_while(Result::ok) {
        if let Ok(mut log) = log.lock() {
            log.push_str(&line);
            log.push('\n');
        }
    }
}
