//! How large the programs are as the running kernel sees them, against what is written down in
//! `docs/programs.toml`: none may grow by more than a tenth without someone saying so there, by
//! `cargo xtask programs --update`. Needs root.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use aya_obj::{Object, generated::bpf_insn};
use lb_tests::process::fresh_instance;
use lb_userspace::dataplane::{OBJECT, Pins, Programs, Sizes};
use serde::Deserialize;

/// Sizes by kernel line and program.
const WRITTEN_DOWN: &str = include_str!("../../docs/programs.toml");

/// What is printed for `cargo xtask programs`: this, the line, the program, and its size as TOML.
const MARK: &str = "@@program";

/// Set by `cargo xtask programs`, which prints and does not compare.
const ONLY_PRINT: &str = "LB_PROGRAMS_ONLY_PRINT";

/// A program's size. What a kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Size {
    /// Instructions that the verifier went through on all paths (told from 5.16 on).
    verified: u32,
    /// Instructions after the verifier's rewriting.
    translated: u32,
    /// Bytes of machine code.
    jited: u32,
    /// Bytes of stack.
    stack: u32,
}

impl Size {
    /// What is named, as it was and as it is.
    fn against(self, now: Self) -> [(&'static str, u32, u32); 4] {
        [
            ("verified instructions", self.verified, now.verified),
            ("instructions", self.translated, now.translated),
            ("bytes of machine code", self.jited, now.jited),
            ("bytes of stack", self.stack, now.stack),
        ]
    }
}

#[test]
fn no_program_has_grown_by_more_than_a_tenth() -> Result<()> {
    let line = kernel_line()?;
    let mut written: BTreeMap<String, BTreeMap<String, Size>> =
        toml::from_str(WRITTEN_DOWN).context("docs/programs.toml")?;
    let written = written.remove(&line);
    if written.is_none() {
        // Past what captures the tests' output: the table of the machines repeats it.
        let _ = writeln!(
            std::io::stdout(),
            "\nnot tested: whether programs have grown, because docs/programs.toml knows nothing of Linux {line}"
        );
    }
    let mut grown = Vec::new();
    for (program, size) in sizes()? {
        let Size { verified, translated, jited, stack } = size;
        println!(
            "{MARK} {line} {program} = {{ verified = {verified}, translated = {translated}, \
             jited = {jited}, stack = {stack} }}"
        );
        let Some(before) = written.as_ref().and_then(|written| written.get(program)) else {
            continue;
        };
        for (what, before, now) in before.against(size) {
            if before > 0 && now > before + before / 10 {
                grown.push(format!("{program}: {now} {what}, {before} written down"));
            }
        }
    }
    assert!(
        grown.is_empty() || std::env::var_os(ONLY_PRINT).is_some(),
        "{}\nif that is meant: cargo xtask programs --update",
        grown.join("\n")
    );
    Ok(())
}

/// Loads the programs and asks the kernel.
fn sizes() -> Result<Vec<(&'static str, Size)>> {
    let mut pins = Removed(Pins::of(Path::new("/sys/fs/bpf"), &fresh_instance()));
    pins.0.lock()?;
    let small = Sizes {
        services: 1,
        frontends: 1,
        backends: 1,
        slots: 1,
        new_flows: 64,
        flows: 64,
        clients: 64,
        source_ranges: 1,
        sockets: 64,
        talks: 64,
        devices: 1,
        held: 64,
        events: 4096,
    };
    let mut programs = Programs::load(&pins.0, &small)?;
    programs.load_bare()?;
    programs.load_sockets()?;
    let object = Object::parse(OBJECT).context("the object")?;
    let mut sizes = Vec::new();
    let names = Programs::NAMES.into_iter().chain(Programs::BARE_NAMES);
    for name in names.chain(Programs::SOCKET_NAMES) {
        let info = programs.program(name).context(name)?.info()?;
        let function = object.functions.values().find(|function| function.name == name);
        let size = Size {
            verified: info.verified_instruction_count().unwrap_or(0),
            translated: info.size_translated().unwrap_or(0) / 8,
            jited: info.size_jitted(),
            stack: stack(&function.context(name)?.instructions),
        };
        sizes.push((name, size));
    }
    Ok(sizes)
}

/// How far below the frame pointer a program reaches: by loads and stores at an offset from it, and
/// by addresses that are made of it.
fn stack(instructions: &[bpf_insn]) -> u32 {
    const FRAME: u8 = 10;
    const LOAD: u8 = 1;
    const STORES: [u8; 2] = [2, 3];
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut deepest = 0;
    let mut previous: Option<&bpf_insn> = None;
    for instruction in instructions {
        let class = instruction.code & 7;
        let by_offset = (class == LOAD && instruction.src_reg() == FRAME)
            || (STORES.contains(&class) && instruction.dst_reg() == FRAME);
        let is_address = instruction.code == ADD
            && previous.is_some_and(|copy| {
                copy.code == COPY
                    && copy.src_reg() == FRAME
                    && copy.dst_reg() == instruction.dst_reg()
            });
        if by_offset {
            deepest = deepest.min(i32::from(instruction.off));
        } else if is_address {
            deepest = deepest.min(instruction.imm);
        }
        previous = Some(instruction);
    }
    deepest.unsigned_abs()
}

/// The running kernel's release line: `5.10`.
fn kernel_line() -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.');
    let line = numbers.next().zip(numbers.next());
    let (major, minor) = line.with_context(|| format!("the kernel calls itself {release}"))?;
    Ok(format!("{major}.{minor}"))
}

/// Pins that go when the test ends.
struct Removed(Pins);

impl Drop for Removed {
    fn drop(&mut self) {
        // What stays is swept by the next test that takes a fresh instance.
        let _ = self.0.remove();
    }
}
