//! The machine that figures were taken on: what makes them differ from another machine's. Read from the
//! kernel's files; what these don't tell is not guessed.

use std::{collections::BTreeMap, env::consts, fs, path::Path};

use serde::Serialize;

/// What a machine is, as far as its kernel tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// As the compiler names it.
    pub architecture: &'static str,
    /// How many processors the kernel shows.
    pub cores: Option<usize>,
    /// In bytes.
    pub memory: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// Whether the processor says that a hypervisor runs it.
    #[serde(rename = "virtual")]
    pub is_virtual: Option<bool>,
    /// What the kernel does against which weakness of the processor, or that it does nothing. Weaknesses that
    /// the processor doesn't have are left out.
    pub mitigations: Option<BTreeMap<String, String>>,
    /// `net.core.bpf_jit_enable`: 0 is the interpreter.
    pub bpf_jit_enable: Option<u8>,
    /// `net.core.bpf_jit_harden`: 0 is off.
    pub bpf_jit_harden: Option<u8>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// The one whose `/proc` and `/sys` are below this directory.
    fn below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let number = |path: &str| read(path)?.trim().parse().ok();
        let cpuinfo = read("proc/cpuinfo").unwrap_or_default();
        let cores = field(&cpuinfo, "processor").count();
        let meminfo = read("proc/meminfo").unwrap_or_default();
        let kibibytes: Option<u64> = field(&meminfo, "MemTotal")
            .next()
            .and_then(|total| total.strip_suffix(" kB")?.parse().ok());
        let has_hypervisor = |flags: &str| flags.split(' ').any(|flag| flag == "hypervisor");
        Self {
            cpu: field(&cpuinfo, "model name").next().map(str::to_owned),
            architecture: consts::ARCH,
            cores: (cores > 0).then_some(cores),
            memory: kibibytes.map(|kibibytes| kibibytes * 1024),
            kernel: read("proc/sys/kernel/osrelease").map(|release| release.trim().to_owned()),
            is_virtual: field(&cpuinfo, "flags").next().map(has_hypervisor),
            mitigations: mitigations(&root.join("sys/devices/system/cpu/vulnerabilities")),
            bpf_jit_enable: number("proc/sys/net/core/bpf_jit_enable"),
            bpf_jit_harden: number("proc/sys/net/core/bpf_jit_harden"),
        }
    }

    /// For people: what, and its value.
    pub(super) fn lines(&self) -> [(&'static str, String); 3] {
        let unknown = "not known";
        let cores = self.cores.map_or(unknown.to_owned(), |cores| cores.to_string());
        let gibibytes = self
            .memory
            .map(|bytes| bytes.div_ceil(1 << 20))
            .map(|mebibytes| format!("{}.{} GiB", mebibytes / 1024, mebibytes % 1024 * 10 / 1024));
        let kind = match self.is_virtual {
            Some(true) => "virtual machine",
            Some(false) => "no hypervisor",
            None => "hypervisor not known",
        };
        let switch = |value: Option<u8>| match value {
            Some(0) => "off".to_owned(),
            Some(1) => "on".to_owned(),
            Some(other) => other.to_string(),
            None => unknown.to_owned(),
        };
        let mitigations = self.mitigations.as_ref().map(|all| {
            let all: Vec<_> = all.iter().map(|(name, what)| format!("{name}: {what}")).collect();
            if all.is_empty() { "none".to_owned() } else { all.join("; ") }
        });
        [
            (
                "machine",
                format!(
                    "{} ({}), cores: {cores}, memory: {}, {kind}",
                    self.cpu.as_deref().unwrap_or(unknown),
                    self.architecture,
                    gibibytes.as_deref().unwrap_or(unknown),
                ),
            ),
            (
                "kernel",
                format!(
                    "{}; BPF JIT {}, its hardening {}",
                    self.kernel.as_deref().unwrap_or(unknown),
                    switch(self.bpf_jit_enable),
                    switch(self.bpf_jit_harden),
                ),
            ),
            ("mitigations", mitigations.unwrap_or(unknown.to_owned())),
        ]
    }
}

/// The values of `name : value` lines.
fn field<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        (found.trim_end() == name).then_some(value.trim())
    })
}

/// By the name of the weakness, without the details after the first semicolon.
fn mitigations(directory: &Path) -> Option<BTreeMap<String, String>> {
    let entries = fs::read_dir(directory).ok()?;
    let read = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).ok()?;
        let text = text.trim();
        let what = text.strip_prefix("Mitigation: ").unwrap_or(text);
        let what = what.split(';').next().unwrap_or(what).trim();
        (what != "Not affected").then(|| (name, what.to_owned()))
    });
    Some(read.collect())
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    fn made_of(files: &[(&str, &str)]) -> Result<Machine> {
        let root = tempfile::tempdir()?;
        for (name, text) in files {
            let path = root.path().join(name);
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(path, text)?;
        }
        Ok(Machine::below(root.path()))
    }

    #[test]
    fn a_machine_is_read_from_the_kernels_files() -> Result<()> {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3.0GHz\nflags\t\t: fpu hypervisor sse\n\
                       \nprocessor\t: 1\nmodel name\t: Some CPU @ 3.0GHz\nflags\t\t: fpu sse\n";
        let weaknesses = "sys/devices/system/cpu/vulnerabilities";
        let machine = made_of(&[
            ("proc/cpuinfo", cpuinfo),
            ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree: 1 kB\n"),
            ("proc/sys/kernel/osrelease", "6.18.1\n"),
            ("proc/sys/net/core/bpf_jit_enable", "1\n"),
            ("proc/sys/net/core/bpf_jit_harden", "0\n"),
            (&format!("{weaknesses}/meltdown"), "Not affected\n"),
            (&format!("{weaknesses}/spectre_v2"), "Mitigation: Retpolines; STIBP: disabled\n"),
            (&format!("{weaknesses}/spec_store_bypass"), "Vulnerable\n"),
        ])?;
        assert_eq!(machine.cores, Some(2));
        assert_eq!(machine.is_virtual, Some(true));
        assert_eq!(machine.memory, Some(4 << 30));
        let [(_, hardware), (_, kernel), (_, mitigations)] = machine.lines();
        assert!(hardware.starts_with("Some CPU @ 3.0GHz ("), "{hardware}");
        assert!(hardware.ends_with("cores: 2, memory: 4.0 GiB, virtual machine"), "{hardware}");
        assert_eq!(kernel, "6.18.1; BPF JIT on, its hardening off");
        assert_eq!(mitigations, "spec_store_bypass: Vulnerable; spectre_v2: Retpolines");
        Ok(())
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_guessed() -> Result<()> {
        let machine = made_of(&[])?;
        assert_eq!((machine.cores, machine.is_virtual, machine.memory), (None, None, None));
        let [(_, hardware), (_, kernel), (_, mitigations)] = machine.lines();
        assert!(hardware.contains("cores: not known, memory: not known"), "{hardware}");
        assert_eq!(kernel, "not known; BPF JIT not known, its hardening not known");
        assert_eq!(mitigations, "not known");
        Ok(())
    }
}
