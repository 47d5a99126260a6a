//! QEMU: one machine from its start to its end. What runs in it is the initramfs's.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::setup::QEMU;

/// How long a machine may take to reach its first process by hardware virtualization. It takes two
/// seconds where that works at all; where it does not, it never gets there.
const PATIENCE_WITH_KVM: Duration = Duration::from_secs(15);

/// The same by emulation, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// How QEMU runs the machine's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acceleration {
    /// The processor does.
    Kvm,
    /// By emulation.
    Emulation,
}

/// A machine to be started.
pub struct Machine {
    /// The kernel's image.
    pub image: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// Memory, in MiB.
    pub memory: u32,
    /// Where QEMU's files go.
    pub directory: PathBuf,
    /// How long it may run after it is up.
    pub limit: Duration,
}

impl Machine {
    /// Runs the machine until its command has ended; each line that the command writes is handed
    /// over. Returns the command's exit status.
    pub fn run(&self, line: &mut (dyn FnMut(&[u8]) + Send)) -> Result<u8> {
        self.start_and(&["-chardev", "file,id=output,path=/dev/stdout"], |child| {
            let output = child.stdout.take().context("QEMU has no output")?;
            thread::scope(|scope| {
                scope.spawn(|| {
                    for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                        line(&bytes);
                    }
                });
                self.wait(child, Some(Instant::now() + self.limit))
            })
        })
    }

    /// Runs the machine with this terminal as its own.
    pub fn run_interactive(&self) -> Result<u8> {
        let terminal = ["-chardev", "stdio,id=output,signal=off"];
        self.start_and(&terminal, |child| self.wait(child, None))
    }

    /// Starts it and hands it over once it is up.
    fn start_and(
        &self,
        output: &[&str],
        attend: impl FnOnce(&mut Child) -> Result<u8>,
    ) -> Result<u8> {
        let mut command = self.qemu(self.acceleration()?, output)?;
        if output.iter().any(|word| word.starts_with("file,")) {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let mut child = command.spawn().with_context(|| format!("can't start {QEMU}"))?;
        let done = if self.comes_up(&mut child, PATIENCE) {
            attend(&mut child)
        } else {
            Err(failed("did not come up", &tail(&self.console())))
        };
        end(&mut child);
        done
    }

    /// What boots: tried once, by starting this very machine; others wait for that.
    fn acceleration(&self) -> Result<Acceleration> {
        static TRIED: Mutex<Option<Acceleration>> = Mutex::new(None);
        let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acceleration) = *tried {
            return Ok(acceleration);
        }
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        let boots = kvm.is_ok() && self.boots_by_kvm()?;
        if !boots {
            eprintln!(
                "vm: /dev/kvm is not there or boots no such kernel: emulating, which is slow"
            );
        }
        let acceleration = if boots { Acceleration::Kvm } else { Acceleration::Emulation };
        *tried = Some(acceleration);
        Ok(acceleration)
    }

    fn boots_by_kvm(&self) -> Result<bool> {
        let mut command = self.qemu(Acceleration::Kvm, &["-chardev", "null,id=output"])?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("can't start {QEMU}"))?;
        let up = self.comes_up(&mut child, PATIENCE_WITH_KVM);
        end(&mut child);
        Ok(up)
    }

    fn qemu(&self, acceleration: Acceleration, output: &[&str]) -> Result<Command> {
        fs::write(self.status(), "").context("making a file for the machine's status")?;
        let mut qemu = Command::new("setpriv");
        // Goes when we go, whichever way that is.
        qemu.args(["--pdeathsig", "KILL", QEMU]);
        qemu.args(match acceleration {
            Acceleration::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // As much of a processor as Debian asks for: with all that QEMU knows ("max"), the same
            // tests take a half more.
            Acceleration::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "qemu64"],
        });
        qemu.args(["-smp", "2", "-m"]).arg(format!("{}M", self.memory));
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.initramfs);
        qemu.args(["-append", "console=ttyS0 panic=-1 rdinit=/init"]);
        qemu.arg("-serial").arg(format!("file:{}", self.console_file().display()));
        qemu.args(["-device", "virtio-serial"]).args(output);
        // A terminal for a shell, a plain channel for everything else.
        let channel = if output.iter().any(|word| word.starts_with("stdio,")) {
            "virtconsole,chardev=output"
        } else {
            "virtserialport,chardev=output,name=lb.output"
        };
        qemu.args(["-device", channel]);
        qemu.arg("-chardev").arg(format!("file,id=status,path={}", self.status().display()));
        qemu.args(["-device", "virtserialport,chardev=status,name=lb.status"]);
        Ok(qemu)
    }

    fn comes_up(&self, child: &mut Child, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.said().lines().next() == Some("up") {
                return true;
            }
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            thread::sleep(Duration::from_millis(20)); // tidy: polls with a deadline
        }
        false
    }

    /// Waits until the machine has stopped, and reads how its command ended.
    fn wait(&self, child: &mut Child, deadline: Option<Instant>) -> Result<u8> {
        while child.try_wait().context("waiting for QEMU")?.is_none() {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                end(child);
                let what = format!("was not done within --limit {}", self.limit.as_secs());
                return Err(failed(&what, &fault(&self.console()).unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(20)); // tidy: polls with a deadline
        }
        let said = self.said();
        let status = said.lines().find_map(|line| line.strip_prefix("exit ")?.parse().ok());
        status.ok_or_else(|| {
            let console = self.console();
            let told = fault(&console).unwrap_or_else(|| tail(&console));
            failed("stopped before its command had ended", &told)
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.status()).unwrap_or_default()
    }

    fn status(&self) -> PathBuf {
        self.directory.join("status")
    }

    /// The kernel's messages.
    fn console(&self) -> String {
        let console = fs::read(self.console_file()).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }

    fn console_file(&self) -> PathBuf {
        self.directory.join("console")
    }
}

fn failed(what: &str, console: &str) -> anyhow::Error {
    if console.is_empty() {
        anyhow::anyhow!("the machine {what}")
    } else {
        anyhow::anyhow!("the machine {what}; its console:\n{console}")
    }
}

/// What a kernel says when it is broken, or thinks so.
const FAULTS: [&str; 7] = [
    "Kernel panic",
    "BUG:",
    "Oops",
    "general protection fault",
    "soft lockup",
    "blocked for more than",
    "detected stall",
];

/// What the kernel said of the first fault; nothing if there was none.
fn fault(console: &str) -> Option<String> {
    let mut lines =
        console.lines().skip_while(|line| !FAULTS.iter().any(|fault| line.contains(fault)));
    let first = lines.next()?;
    Some([first].into_iter().chain(lines.take(29)).collect::<Vec<_>>().join("\n"))
}

/// The last lines.
fn tail(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Ends QEMU, if it hasn't ended yet.
fn end(child: &mut Child) {
    // Both fail only if it is gone.
    let _ = child.kill();
    let _ = child.wait();
}

/// Fails if a path could not be written on QEMU's command line.
pub fn check_path(path: &Path) -> Result<()> {
    if path.to_string_lossy().contains(',') {
        bail!("QEMU takes no path with a comma: {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernels_fault_is_shown_and_from_its_first_line_on() {
        let fine =
            "[    0.9] Run /init as init process\n[    2.0] IPv6: ADDRCONF(NETDEV_CHANGE): eth0";
        assert_eq!(fault(fine), None);
        let broken =
            format!("{fine}\n[    3.0] BUG: kernel NULL pointer dereference\n[    3.0] RIP");
        let shown = "[    3.0] BUG: kernel NULL pointer dereference\n[    3.0] RIP";
        assert_eq!(fault(&broken).as_deref(), Some(shown));
    }
}
