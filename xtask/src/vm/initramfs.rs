//! The machine's file system: an archive that is made for each run and unpacked into its memory.
//! Programs of this machine come with the libraries that they are linked to.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cpio::newc;
use walkdir::WalkDir;

use super::kernel::Kernel;
use crate::{command, setup::lab};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// The first process.
const INIT: &str = include_str!("init.sh");

enum Content {
    Bytes(Vec<u8>),
    Of(PathBuf),
}

/// A file system being made: by path, without the leading `/`.
pub struct Initramfs {
    entries: BTreeMap<String, (u32, Content)>,
}

impl Initramfs {
    /// What every machine has: busybox, a shell, the lab's tools, the kernel's modules.
    pub fn new(kernel: &Kernel) -> Result<Self> {
        let mut made = Self { entries: BTreeMap::new() };
        for directory in ["dev", "proc", "sys", "tmp", "run", "root", "var/tmp", "mnt"] {
            made.put(directory, DIRECTORY, Content::Bytes(Vec::new()));
        }
        made.put("init", PROGRAM, Content::Bytes(INIT.into()));
        made.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        made.text("etc/group", "root:x:0:\n");
        made.busybox(&kernel.busybox())?;
        made.tools()?;
        let modules = kernel.modules();
        made.tree(&modules, &format!("lib/modules/{}", kernel.release))?;
        Ok(made)
    }

    /// A file with this text.
    pub fn text(&mut self, at: &str, text: &str) {
        self.put(at, FILE, Content::Bytes(text.into()));
    }

    /// A program that is a shell script.
    pub fn script(&mut self, at: &str, text: &str) {
        self.put(at, PROGRAM, Content::Bytes(text.into()));
    }

    /// A program of this machine and its libraries.
    pub fn program(&mut self, program: &Path, at: &str) -> Result<()> {
        self.put(at, PROGRAM, Content::Of(fs::canonicalize(program).context("a program")?));
        for library in libraries(program)? {
            let at = library.to_string_lossy().trim_start_matches('/').to_owned();
            self.put(&at, PROGRAM, Content::Of(library));
        }
        Ok(())
    }

    /// A program that is installed on this machine, by its name.
    pub fn tool(&mut self, name: &str) -> Result<()> {
        let found = which::which_in_global(name, Some(lab::search_path()))?.next();
        let found = found.with_context(|| format!("{name} is not installed"))?;
        // busybox's own, if it has one.
        self.entries.remove(&format!("bin/{name}"));
        self.program(&found, &format!("usr/sbin/{name}"))
    }

    /// A file, or a directory and all below it.
    pub fn tree(&mut self, from: &Path, at: &str) -> Result<()> {
        for entry in WalkDir::new(from).follow_links(true) {
            let entry = entry.with_context(|| format!("reading {}", from.display()))?;
            let below = entry.path().strip_prefix(from).unwrap_or(entry.path());
            let at = Path::new(at).join(below);
            let at = at.to_string_lossy();
            let at = at.trim_end_matches('/');
            if entry.file_type().is_dir() {
                self.put(at, DIRECTORY, Content::Bytes(Vec::new()));
            } else if entry.file_type().is_file() {
                self.put(at, FILE, Content::Of(entry.into_path()));
            }
        }
        Ok(())
    }

    /// Writes the archive.
    pub fn write(&self, to: &Path) -> Result<()> {
        let written = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(to)?);
            for (number, (path, (mode, content))) in (1..).zip(&self.entries) {
                let header = newc::Builder::new(path).ino(number).mode(*mode).nlink(1);
                let bytes = match content {
                    Content::Bytes(bytes) => bytes.clone(),
                    Content::Of(file) => fs::read(file)?,
                };
                let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
                let mut entry = header.write(&mut out, length);
                entry.write_all(&bytes)?;
                entry.finish()?;
            }
            newc::trailer(&mut out)?;
            out.flush()
        };
        written().with_context(|| format!("writing {}", to.display()))
    }

    fn put(&mut self, at: &str, mode: u32, content: Content) {
        for parent in Path::new(at).ancestors().skip(1) {
            let parent = parent.to_string_lossy().into_owned();
            if !parent.is_empty() {
                let directory = (DIRECTORY, Content::Bytes(Vec::new()));
                self.entries.entry(parent).or_insert(directory);
            }
        }
        self.entries.insert(at.to_owned(), (mode, content));
    }

    /// busybox under all its names, but those that the lab's tools have.
    fn busybox(&mut self, busybox: &Path) -> Result<()> {
        let names = command::output(Command::new(busybox).arg("--list"));
        let names = names.with_context(|| format!("{} does not run", busybox.display()))?;
        self.put("bin/busybox", PROGRAM, Content::Of(busybox.to_owned()));
        for name in names.lines().filter(|name| *name != "busybox") {
            self.put(&format!("bin/{name}"), LINK, Content::Bytes("/bin/busybox".into()));
        }
        // Where the kernel looks for it.
        self.put("sbin/modprobe", LINK, Content::Bytes("/bin/busybox".into()));
        Ok(())
    }

    fn tools(&mut self) -> Result<()> {
        // Not busybox's shell: it prefers busybox's own `ip` and `tc` to ours.
        for (name, at) in [("sh", "bin/sh"), ("bash", "bin/bash")] {
            self.program(&which::which(name).with_context(|| format!("no {name}"))?, at)?;
        }
        // Of util-linux, which every Debian has: busybox's know fewer options.
        for tool in lab::tools().chain(["setpriv", "unshare"]) {
            self.tool(tool)?;
        }
        // iptables loads what it knows of matches and targets from there.
        for entry in xtables() {
            let at = entry.to_string_lossy().trim_start_matches('/').to_owned();
            self.tree(&entry, &at)?;
        }
        Ok(())
    }
}

/// Where this machine keeps iptables' own libraries.
fn xtables() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let places = entries.map(|entry| entry.path().join("xtables"));
    places.filter(|place| place.is_dir()).collect()
}

/// The libraries that a program is linked to, and the loader; none if it is linked statically.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("can't start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if said.contains("not a dynamic executable") {
            return Ok(Vec::new());
        }
        bail!("ldd {}: {}", program.display(), said.trim());
    }
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} lacks a library: {}", program.display(), missing.trim());
    }
    Ok(text.lines().filter_map(library).collect())
}

/// Reads `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
    let path = path.split(" (").next()?;
    path.starts_with('/').then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)";
        assert_eq!(library(libc), Some("/lib/x86_64-linux-gnu/libc.so.6".into()));
        let loader = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)";
        assert_eq!(library(loader), Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(library("\tstatically linked"), None);
    }
}
