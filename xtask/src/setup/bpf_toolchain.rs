//! Which compiler and which bpf-linker build the BPF programs: the rule, and the cargo command that
//! follows from it.
//!
//! Compiled twice: as a module of xtask, and (by `#[path]`) into lb-userspace's build script, so that
//! a plain `cargo build` finds what `cargo xtask setup` put there. Hence only `std` here, nothing is
//! installed here, and everything is looked up on disk, never on the network.
//!
//! The rule: the first compiler of [`compilers`] for whose LLVM a bpf-linker is installed.

use std::{
    env, fmt,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The release of bpf-linker that is used.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// The oldest compiler that the workspace accepts, `major.minor`.
const OLDEST_COMPILER: &str = env!("CARGO_PKG_RUST_VERSION");

/// A Rust toolchain that can build `core` for BPF: its sources are there.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The directory that holds `bin/rustc` and `lib/rustlib`.
    pub sysroot: PathBuf,
    /// As in `rustc --version`, for example `1.96.0` or `1.97.0-nightly`.
    pub release: String,
    /// The major version of its LLVM; a bpf-linker must be built for the same one.
    pub llvm: u32,
}

/// A compiler together with the bpf-linker that reads its bitcode.
#[derive(Debug, Clone)]
pub struct BpfToolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The bpf-linker executable.
    pub linker: PathBuf,
}

/// Why there is no [`BpfToolchain`]; its text says what is missing.
#[derive(Debug)]
pub enum Missing {
    /// No compiler comes with the sources of `core`.
    Compiler,
    /// There are compilers, but no bpf-linker that runs for the LLVM of any of them.
    Linker(Vec<Compiler>),
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => write!(
                out,
                "no compiler for BPF: neither rustup's nightly nor /usr/bin/rustc is at least \
                 {OLDEST_COMPILER} and has the sources of `core` (component rust-src)"
            ),
            Self::Linker(compilers) => {
                write!(out, "no bpf-linker {BPF_LINKER_VERSION} that runs; looked for")?;
                for compiler in compilers {
                    let path = linker_root(compiler.llvm).join("bin/bpf-linker");
                    write!(out, " {} (for rustc {})", path.display(), compiler.release)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Missing {}

/// The toolchain that builds the BPF programs, by the rule of this module.
pub fn find() -> Result<BpfToolchain, Missing> {
    let compilers = compilers();
    if compilers.is_empty() {
        return Err(Missing::Compiler);
    }
    for compiler in &compilers {
        if let Some(linker) = compiler.linker() {
            return Ok(BpfToolchain { compiler: compiler.clone(), linker });
        }
    }
    Err(Missing::Linker(compilers))
}

/// The installed compilers that can build `core`, the preferred one first: rustup's nightly, then the
/// distribution's, which counts as stable and is let use `-Z` by `RUSTC_BOOTSTRAP`.
pub fn compilers() -> Vec<Compiler> {
    let nightly = rustup_sysroot("nightly");
    let candidates = nightly.into_iter().chain([PathBuf::from("/usr")]);
    candidates.filter_map(Compiler::at).collect()
}

/// Where the bpf-linker for an LLVM is installed. A root of its own, because the linkers for two
/// LLVMs have the same file name, and because nothing of the user's is to be overwritten.
pub fn linker_root(llvm: u32) -> PathBuf {
    cache().join(format!("bpf-linker-{BPF_LINKER_VERSION}-llvm{llvm}"))
}

/// Where what was fetched or built once is kept, outside the tree.
pub fn cache() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"));
    cache.join("lb")
}

impl Compiler {
    fn at(sysroot: PathBuf) -> Option<Self> {
        let core = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
        if !core.is_file() || !sysroot.join("bin/cargo").is_file() {
            return None;
        }
        let text = stdout_of(Command::new(sysroot.join("bin/rustc")).arg("-vV"))?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let release = field("release: ")?.to_owned();
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        (minor(&release)? >= minor(OLDEST_COMPILER)?).then_some(Self { sysroot, release, llvm })
    }

    /// The bpf-linker installed for this compiler's LLVM, if it starts: it doesn't when the LLVM
    /// library that it was linked with is gone.
    pub fn linker(&self) -> Option<PathBuf> {
        let linker = linker_root(self.llvm).join("bin/bpf-linker");
        stdout_of(Command::new(&linker).arg("--version")).map(|_| linker)
    }
}

impl BpfToolchain {
    /// `cargo SUBCOMMAND` on lb-ebpf for BPF. `target` is `bpfel-unknown-none` or
    /// `bpfeb-unknown-none`; `kernel_arch` is the architecture whose register layout the programs
    /// see, as in `target_arch`.
    pub fn cargo(&self, subcommand: &str, target: &str, kernel_arch: &str) -> Command {
        let bin = self.compiler.sysroot.join("bin");
        let mut cargo = Command::new(bin.join("cargo"));
        cargo.arg(subcommand).args(["--package", "lb-ebpf", "--release"]);
        cargo.args(["--target", target, "-Z", "build-std=core"]);

        // What cargo tells a build script, and rustup a proxied tool, is about another compiler and
        // another target than the ones meant here.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let foreign = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "CARGO_MANIFEST_"];
            if foreign.iter().any(|prefix| text.starts_with(prefix)) {
                cargo.env_remove(&name);
            }
        }
        for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            cargo.env_remove(name);
        }
        // `cargo run` points it at the libraries of the compiler that built xtask.
        cargo.env_remove("LD_LIBRARY_PATH");

        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(bin.clone()).chain(env::split_paths(&path)));
        cargo.env("PATH", path.unwrap_or_else(|_| bin.clone().into_os_string()));
        cargo.env("RUSTC", bin.join("rustc"));
        if !self.compiler.release.contains("nightly") {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        let variable = target.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &self.linker);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(kernel_arch));
        cargo
    }
}

fn rustflags(kernel_arch: &str) -> String {
    [
        format!("--cfg=bpf_target_arch=\"{kernel_arch}\""),
        // The compiler's default is v1: no 32-bit registers or jumps, hence a pair of shifts after
        // every u32. From v4 on LLVM emits jump tables, which aya can't relocate. v3 needs Linux 5.1.
        // rustc hands this on to the linker; a `--cpu` there as well is an error.
        "-Ctarget-cpu=v3".to_owned(),
        // BTF is made from debug info, of every crate whose types stand in maps.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ]
    .join("\x1f")
}

fn rustup_sysroot(toolchain: &str) -> Option<PathBuf> {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", toolchain, "rustc", "--print", "sysroot"]);
    // To look must not be to install.
    rustup.env("RUSTUP_AUTO_INSTALL", "0");
    stdout_of(&mut rustup).map(|text| PathBuf::from(text.trim()))
}

/// What a program prints, if it can be started and succeeds.
fn stdout_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH").output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()
}

/// `major.minor…` as numbers that compare.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
