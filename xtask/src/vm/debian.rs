//! Packages of Debian suites that are not the machine's own: fetched through apt, which checks their
//! sums and signatures, with a state of its own, so that the machine is left alone. Unpacked, never
//! installed. What is in the packages is not known here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{command, setup};

/// Debian signs all its suites with keys in here.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Some suites of the mirrors that the machine itself uses.
pub struct Archive {
    state: PathBuf,
}

impl Archive {
    /// Fetches the lists of `suites` into a directory for apt's state.
    pub fn of(suites: &[&str], state: &Path) -> Result<Self> {
        let mirrors = mirrors()?;
        let sources: String = suites
            .iter()
            .filter_map(|suite| {
                let mirror = if suite.ends_with("-security") {
                    mirrors.security.as_deref()?
                } else {
                    &mirrors.main
                };
                Some(format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
            })
            .collect();
        for directory in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(directory))
                .with_context(|| format!("creating {}", state.display()))?;
        }
        fs::write(state.join("sources.list"), sources).context("writing apt's sources")?;
        let archive = Self { state: state.to_owned() };
        command::run_unattended(archive.apt("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("the mirrors {mirrors} don't have {}", suites.join(", ")))?;
        Ok(archive)
    }

    /// The packages whose names match a regular expression.
    pub fn names(&self, pattern: &str) -> Result<BTreeSet<String>> {
        let mut search = self.apt("apt-cache");
        let found = command::output(search.args(["search", "--names-only", pattern]));
        let found = found.context("apt-cache can't search")?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Fetches packages and unpacks them below a directory.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let downloads = into.join("packages");
        fs::create_dir_all(&downloads)
            .with_context(|| format!("creating {}", downloads.display()))?;
        let mut download = self.apt("apt-get");
        download.args(["-q", "download"]).args(packages).current_dir(&downloads);
        command::run_unattended(&mut download)?;
        for package in fs::read_dir(&downloads).context("reading what apt fetched")? {
            let mut dpkg = Command::new("dpkg");
            dpkg.arg("-x").arg(package?.path()).arg(into);
            command::run_unattended(&mut dpkg)?;
        }
        fs::remove_dir_all(&downloads).context("removing the packages")
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let set = |name: &str, value: &Path| format!("{name}={}", value.display());
        for option in [
            set("Dir::Etc::SourceList", &self.state.join("sources.list")),
            set("Dir::Etc::SourceParts", Path::new("/dev/null")),
            set("Dir::State::Lists", &self.state.join("lists")),
            set("Dir::Cache", &self.state.join("cache")),
            // apt's own user can't write where we keep things.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt
    }
}

/// Where the machine's own packages come from.
struct Mirrors {
    main: String,
    security: Option<String>,
}

impl std::fmt::Display for Mirrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let security = self.security.as_deref().unwrap_or("(no security mirror)");
        write!(f, "{} and {security}", self.main)
    }
}

fn mirrors() -> Result<Mirrors> {
    if which::which("apt-get").is_err() || !Path::new(KEYRING).is_file() {
        bail!(
            "kernels for virtual machines are taken from Debian's packages: this needs apt and \
             {KEYRING} (package debian-archive-keyring)"
        );
    }
    // Only a source whose list was fetched tells its label.
    match labelled() {
        Some(mirrors) => Ok(mirrors),
        None if setup::refresh_lists() => {
            labelled().context("none of apt's sources is a mirror of Debian")
        }
        None => bail!("apt knows no mirror of Debian yet; run: sudo apt-get update"),
    }
}

fn labelled() -> Option<Mirrors> {
    let mut apt = Command::new("apt-get");
    let format = "$(LABEL) $(REPO_URI)";
    let sources =
        command::output(apt.args(["indextargets", "--format", format, "Identifier: Packages"]))?;
    let of = |label: &str| {
        let mut labelled = sources.lines().filter_map(|line| line.split_once(' '));
        labelled.find(|(found, _)| *found == label).map(|(_, mirror)| mirror.to_owned())
    };
    Some(Mirrors { main: of("Debian")?, security: of("Debian-Security") })
}
