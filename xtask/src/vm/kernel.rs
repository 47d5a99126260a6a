//! Kernels by release line, as Debian builds them for clouds, kept in the cache: the image, and its
//! modules as `modprobe` wants them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use walkdir::WalkDir;

use super::debian::Archive;
use crate::{command, setup::bpf_toolchain};

/// A release line, and the suites that hold it. By line, because exact versions vanish.
struct Line {
    name: &'static str,
    suites: &'static [&'static str],
}

const LINES: [Line; 4] = [
    Line { name: "5.10", suites: &["bullseye", "bullseye-security"] },
    Line { name: "6.1", suites: &["bookworm", "bookworm-security"] },
    Line { name: "6.12", suites: &["trixie", "trixie-security"] },
    Line { name: NEWEST, suites: &["sid"] },
];

/// The line that is whatever Debian has built last.
pub const NEWEST: &str = "newest";

/// All lines, the oldest first.
pub fn lines() -> impl Iterator<Item = &'static str> {
    LINES.iter().map(|line| line.name)
}

/// A kernel, ready to be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// As `uname -r` shows it.
    pub release: String,
    /// The directory in the cache.
    directory: PathBuf,
}

impl Kernel {
    /// The kernel of a line, from the cache, or fetched into it.
    pub fn of(name: &str) -> Result<Self> {
        let Some(line) = LINES.iter().find(|line| line.name == name) else {
            let known: Vec<_> = lines().collect();
            bail!("no release line {name:?} is known; there are {}", known.join(", "));
        };
        let cache = bpf_toolchain::cache().join("kernels");
        let directory = cache.join(name);
        if !directory.join("release").is_file() {
            fetch(line, &cache)?;
        }
        let release = fs::read_to_string(directory.join("release"))
            .with_context(|| format!("reading {}", directory.display()))?;
        Ok(Self { release, directory })
    }

    /// The image.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The modules and their index: what is `lib/modules/RELEASE` on a machine.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.release)
    }

    /// A busybox, statically linked.
    pub fn busybox(&self) -> PathBuf {
        self.directory.join("busybox")
    }
}

/// Makes the directory of a line, under another name until it is complete.
fn fetch(line: &Line, cache: &Path) -> Result<()> {
    eprintln!("vm: fetching a kernel of the line {}", line.name);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => bail!("no kernels are known for {other}: virtual machines need x86_64"),
    };
    let partial = cache.join(format!("{}.partial", line.name));
    let finished = cache.join(line.name);
    for left_over in [&partial, &finished] {
        if left_over.exists() {
            fs::remove_dir_all(left_over)
                .with_context(|| format!("removing {}", left_over.display()))?;
        }
    }
    let archive = Archive::of(line.suites, &partial.join("apt"))?;
    let flavour = format!("cloud-{architecture}");
    let release = newest_release(&archive, line, &flavour)?;
    let unpacked = partial.join("unpacked");
    let mut packages = packages(&archive, &release)?;
    packages.push("busybox-static".to_owned());
    archive.unpack(&packages, &unpacked)?;
    gather(&unpacked, &release, &partial)?;
    for directory in ["unpacked", "apt"] {
        fs::remove_dir_all(partial.join(directory)).context("removing what isn't needed")?;
    }
    fs::write(partial.join("release"), &release).context("writing the kernel's release")?;
    fs::rename(&partial, &finished).with_context(|| format!("renaming {}", partial.display()))
}

fn newest_release(archive: &Archive, line: &Line, flavour: &str) -> Result<String> {
    let version = match line.name {
        NEWEST => String::new(),
        name => format!("{}\\.", name.replace('.', "\\.")),
    };
    let images = archive.names(&format!("^linux-image-{version}[0-9].*-{flavour}$"))?;
    let releases = images.iter().filter_map(|image| image.strip_prefix("linux-image-"));
    let newest = releases.max_by_key(|release| numbers(release));
    let newest = newest.with_context(|| {
        format!("no kernel of the line {} is in {}", line.name, line.suites.join(", "))
    })?;
    Ok(newest.to_owned())
}

/// The numbers in a release: by them, not by letters, 6.12.107 comes after 6.12.94.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Up to 6.x image and modules are one package, from 7 on they are two.
fn packages(archive: &Archive, release: &str) -> Result<Vec<String>> {
    let escaped = release.replace('+', "\\+").replace('.', "\\.");
    let apart = archive.names(&format!("^linux-(binary|modules)-{escaped}$"))?;
    if apart.is_empty() {
        return Ok(vec![format!("linux-image-{release}")]);
    }
    Ok(apart.into_iter().collect())
}

/// Puts image, modules and busybox at their places.
fn gather(unpacked: &Path, release: &str, into: &Path) -> Result<()> {
    let first_of = |places: [String; 2]| {
        let mut places = places.into_iter().map(|place| unpacked.join(place));
        places.find(|place| place.exists()).with_context(|| {
            format!("the packages of {release} hold things at places that are not known")
        })
    };
    let place = |from: PathBuf, to: PathBuf| {
        fs::rename(&from, &to).with_context(|| format!("moving {}", from.display()))
    };
    let image = first_of([
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
    ])?;
    place(image, into.join("vmlinuz"))?;
    let modules =
        first_of([format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")])?;
    fs::create_dir_all(into.join("lib/modules")).context("making a place for the modules")?;
    place(modules, into.join("lib/modules").join(release))?;
    place(
        first_of(["bin/busybox".to_owned(), "usr/bin/busybox".to_owned()])?,
        into.join("busybox"),
    )?;
    keep_network_modules(&into.join("lib/modules").join(release))?;
    index(into, release)
}

/// Directories whose modules tests may need; the others (disks, file systems, graphics) would only
/// take the machine's memory.
const KEPT: [&str; 8] = [
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch",
    "kernel/drivers/net",
    "kernel/drivers/virtio",
    "kernel/drivers/char",
    "kernel/drivers/tty",
];

fn keep_network_modules(modules: &Path) -> Result<()> {
    for file in WalkDir::new(modules) {
        let file = file.context("reading the modules")?;
        let below = file.path().strip_prefix(modules).unwrap_or(file.path());
        let is_kept =
            !below.starts_with("kernel") || KEPT.iter().any(|kept| below.starts_with(kept));
        if file.file_type().is_file() && !is_kept {
            fs::remove_file(file.path()).context("removing a module")?;
        }
    }
    Ok(())
}

/// Decompresses the modules, which busybox can't do while it loads them, and lists what needs what.
fn index(into: &Path, release: &str) -> Result<()> {
    let busybox = into.join("busybox");
    let modules = into.join("lib/modules").join(release);
    let mut compressed = Vec::new();
    for file in WalkDir::new(&modules) {
        let file = file.context("reading the modules")?.into_path();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => compressed.push(file),
            Some("zst" | "gz") => bail!("{} is compressed in an unknown way", file.display()),
            _ => {}
        }
    }
    for some in compressed.chunks(200) {
        let mut unxz = Command::new(&busybox);
        let done = unxz.arg("unxz").args(some).status().context("starting busybox")?;
        if !done.success() {
            bail!("busybox can't decompress the modules of {release}");
        }
    }
    command::run_unattended(Command::new(&busybox).args(["depmod", "-b"]).arg(into).arg(release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        assert!(numbers("6.12.107+deb13-cloud-amd64") > numbers("6.12.94+deb13-cloud-amd64"));
        assert!(numbers("5.10.0-46-cloud-amd64") > numbers("5.10.0-9-cloud-amd64"));
    }
}
