//! Benchmarks in a virtual machine: for what this machine's kernel may lack, pktgen and IPVS. Their reports
//! come back line by line, since the machine shares no directory with this one.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::Built;
use crate::{
    setup,
    vm::{Guest, LB, quoted},
};

/// Marks the lines of a report in a machine's output. No benchmark prints this.
const MARK: &str = "@@lb-bench ";

/// How long all of it may take: emulated processors are slow.
const LIMIT: Duration = Duration::from_mins(30);

/// Where things are in the machine.
const BENCH: &str = "usr/bin/bench";
const RIG: &str = "usr/lib/lb/rig";

/// Runs the benchmarks that `words` name on a kernel, and puts their reports into a directory. Whether
/// they succeeded.
pub fn run(built: &Built, kernel: &str, words: &[OsString], out: &Path) -> Result<bool> {
    let peers = setup::for_peers()?;
    let mut guest = Guest::new(kernel)?;
    guest.add(&built.lb, LB)?;
    guest.add(&built.bench, BENCH)?;
    guest.initramfs.tree(&built.rig, RIG)?;
    for tool in peers {
        let name =
            tool.file_name().context("a tool without a name")?.to_string_lossy().into_owned();
        guest.initramfs.program(&tool, &format!("usr/sbin/{name}"))?;
    }
    // ipset asks the C library for the numbers of protocols.
    guest.initramfs.text("etc/protocols", "icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\nsctp 132\n");
    guest.initramfs.script("command", &script(words));
    eprintln!("bench: on Linux {}", guest.kernel.release);
    let mut reports = Reports::new(out);
    let status = guest.boot(LIMIT, &mut |line| reports.attend(line))?;
    let files = reports.finish()?;
    if status == 0 && files == 0 {
        bail!("the benchmarks in the machine ended well, but no report came back");
    }
    Ok(status == 0)
}

/// What the machine runs: the benchmarks, then their files, each after a mark.
fn script(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    format!(
        "#!/bin/sh\n\
         modprobe -a pktgen ip_vs ip_vs_rr dummy xt_set ip_set ip_set_hash_ip ip_set_hash_ipport \
         ip_set_hash_ipportnet ip_set_hash_ipportip ip_set_bitmap_port xt_ipvs 2>/dev/null\n\
         export LB_BINARY=/{LB} LB_RIG=/{RIG} LB_PATIENCE=10\n\
         mkdir -p /out\n\
         bench --out /out {}\n\
         status=$?\n\
         for file in /out/*; do\n\
           [ -f \"$file\" ] || continue\n\
           echo; echo \"{MARK}begin ${{file##*/}}\"; cat \"$file\"; echo; echo \"{MARK}end\"\n\
         done\n\
         exit $status\n",
        words.join(" ")
    )
}

/// Sorts what comes out of the machine: reports into files, the rest to the terminal.
struct Reports {
    out: PathBuf,
    /// The file that is coming in.
    open: Option<(String, Vec<u8>)>,
    finished: Vec<(String, Vec<u8>)>,
}

impl Reports {
    fn new(out: &Path) -> Self {
        Self { out: out.to_owned(), open: None, finished: Vec::new() }
    }

    fn attend(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        match (text.strip_prefix(MARK), &mut self.open) {
            (Some("end"), _) => self.finished.extend(self.open.take()),
            (Some(told), _) => {
                if let Some(name) = told.strip_prefix("begin ") {
                    self.open = Some((name.to_owned(), Vec::new()));
                }
            }
            (None, Some((_, bytes))) => {
                bytes.extend(line);
                bytes.push(b'\n');
            }
            (None, None) => {
                // Whoever doesn't listen any more doesn't want to hear of it.
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
            }
        }
    }

    /// Writes the files; how many.
    fn finish(self) -> Result<usize> {
        if let Some((name, _)) = self.open {
            bail!("the machine ended in the middle of {name}");
        }
        fs::create_dir_all(&self.out)
            .with_context(|| format!("creating {}", self.out.display()))?;
        for (name, mut bytes) in self.finished.iter().cloned() {
            // The empty line before the mark is ours.
            bytes.pop();
            let path = self.out.join(name);
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(self.finished.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_what_else_is_printed() -> Result<()> {
        let out = tempfile::tempdir()?;
        let mut reports = Reports::new(out.path());
        for line in ["hello", "@@lb-bench begin pktgen.json", "{", "}", "", "@@lb-bench end", "bye"]
        {
            reports.attend(line.as_bytes());
        }
        assert_eq!(reports.finish()?, 1);
        assert_eq!(fs::read_to_string(out.path().join("pktgen.json"))?, "{\n}\n");
        Ok(())
    }

    #[test]
    fn a_report_that_is_cut_off_is_none() {
        let mut reports = Reports::new(Path::new("/nowhere"));
        reports.attend(b"@@lb-bench begin pktgen.json");
        assert!(reports.finish().is_err());
    }
}
