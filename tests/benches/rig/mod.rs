//! The rig's programs from user space: loaded, told what to do, asked what they saw.
//!
//! [`stream`] says which frames; [`live`] sends them. What is measured with it, and how often, is each
//! benchmark's own.

#![allow(dead_code, reason = "each program that has this module uses its part")]

pub mod live;
#[path = "../../../lb-ebpf/rig/plan.rs"]
pub mod plan;
pub mod stream;

use std::{
    env,
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray, ProgramArray},
    programs::{
        ProgramError, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, Xdp, XdpMode,
        xdp::XdpLink,
    },
};
use bytemuck::Zeroable as _;
use lb_tests::lab::Namespace;
use plan::{CHECKS, Check, Plan, Progress, Seen};

/// The environment variable that names the object, which `cargo xtask` sets.
const OBJECT: &str = "LB_RIG";

/// Which element of the sinks' counters a program uses.
#[derive(Clone, Copy, Debug)]
pub enum Sink {
    /// `count`.
    Count = 0,
    /// `reflect`.
    Reflect = 1,
}

/// Where a program is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before there is a socket buffer.
    Xdp,
    /// With one.
    Tc,
}

/// The loaded programs.
pub struct Rig {
    bpf: Ebpf,
}

/// A program on an interface, for as long as this lives.
pub struct Attached {
    _link: XdpLink,
}

impl Rig {
    /// Loads the programs. `lines` is how many lines the array has whose lines are read, a power of two.
    pub fn load(lines: u32) -> Result<Self> {
        let object = env::var_os(OBJECT).with_context(|| {
            format!("{OBJECT} names no object; benchmarks are run by `cargo xtask bench`")
        })?;
        let mut bpf = EbpfLoader::new()
            .map_max_entries("LINES", lines)
            .load_file(&object)
            .with_context(|| format!("loading {}", object.display()))?;
        for (name, program) in bpf.programs_mut() {
            let loaded = match program {
                aya::programs::Program::Xdp(program) => program.load(),
                aya::programs::Program::SchedClassifier(program) => program.load(),
                _ => bail!("{name} in the rig is of an unknown kind"),
            };
            loaded.with_context(|| format!("the kernel refuses the rig's {name}"))?;
        }
        Ok(Self { bpf })
    }

    /// Says which frames to make, from the first flow on.
    pub fn set_plan(&mut self, plan: &Plan) -> Result<()> {
        self.store("PLAN", 0, plan)?;
        self.store("PROGRESS", 0, &Progress::zeroed())
    }

    /// Goes on with the plan as if this many frames had been made.
    pub fn go_on_from(&mut self, made: u64) -> Result<()> {
        self.store("PROGRESS", 0, &Progress { made, ..Progress::zeroed() })
    }

    /// How far the plan has been carried out.
    pub fn progress(&self) -> Result<Progress> {
        let map = self.bpf.map("PROGRESS").context("the rig has no PROGRESS")?;
        let array: Array<&MapData, [u8; size_of::<Progress>()]> = Array::try_from(map)?;
        Ok(bytemuck::pod_read_unaligned(&array.get(&0, 0)?))
    }

    /// Says what a sink expects. With fewer checks than there can be, the rest are fulfilled.
    pub fn expect(&mut self, checks: &[Check]) -> Result<()> {
        ensure!(checks.len() <= CHECKS, "a sink looks at {CHECKS} words at most");
        for number in 0..CHECKS {
            let check = checks.get(number).copied().unwrap_or_default();
            self.store("CHECKED", u32::try_from(number)?, &check)?;
        }
        Ok(())
    }

    /// Sets what the sinks have seen to nothing.
    pub fn forget_seen(&mut self) -> Result<()> {
        let map = self.bpf.map_mut("SEEN").context("the rig has no SEEN")?;
        let mut array: PerCpuArray<_, [u64; 2]> = PerCpuArray::try_from(map)?;
        let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        for element in 0..2 {
            array.set(element, aya::maps::PerCpuValues::try_from(vec![[0; 2]; processors])?, 0)?;
        }
        Ok(())
    }

    /// What a sink has seen.
    pub fn seen(&self, sink: Sink) -> Result<Seen> {
        let map = self.bpf.map("SEEN").context("the rig has no SEEN")?;
        let array: PerCpuArray<&MapData, [u64; 2]> = PerCpuArray::try_from(map)?;
        let values = array.get(&(sink as u32), 0)?;
        Ok(values.iter().fold(Seen::zeroed(), |sum, [expected, others]| Seen {
            expected: sum.expected + expected,
            others: sum.others + others,
        }))
    }

    /// Says where `redirect` sends to.
    pub fn set_target(&mut self, interface: u32) -> Result<()> {
        self.store("TARGET", 0, &interface)
    }

    fn store<T: bytemuck::Pod>(&mut self, name: &str, index: u32, value: &T) -> Result<()> {
        let map = self.bpf.map_mut(name).with_context(|| format!("the rig has no {name}"))?;
        store(map, index, bytemuck::bytes_of(value)).with_context(|| format!("writing {name}"))
    }

    /// Attaches a program to an interface of a namespace, in the driver.
    pub fn attach(&mut self, program: &str, at: &Namespace, interface: &str) -> Result<Attached> {
        let _inside = at.enter()?;
        self.attach_here(program, interface).with_context(|| format!("in {}", at.full_name()))
    }

    /// The same, in this thread's namespace.
    pub fn attach_here(&mut self, program: &str, interface: &str) -> Result<Attached> {
        let xdp: &mut Xdp = self.bpf.program_mut(program).context("no such program")?.try_into()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match xdp.attach(interface, XdpMode::Driver) {
                Ok(id) => return Ok(Attached { _link: xdp.take_link(id)? }),
                // A process that another thread starts has our links until it becomes its program: the
                // one before may live a moment longer than its owner.
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1)); // tidy: polls with a deadline
                }
                Err(error) => {
                    let what = format!("attaching {program} to {interface}, in the driver");
                    return Err(error).context(what);
                }
            }
        }
    }

    /// The measured program from now on: another object's, or one of the rig's.
    pub fn measure(&mut self, hook: Hook, program: &ProgramFd) -> Result<()> {
        let name = match hook {
            Hook::Xdp => "MEASURED_XDP",
            Hook::Tc => "MEASURED_TC",
        };
        let map = self.bpf.map_mut(name).with_context(|| format!("the rig has no {name}"))?;
        let mut programs = ProgramArray::try_from(map)?;
        programs.set(0, program, 0).with_context(|| format!("{name} takes no such program"))
    }

    /// A program of the rig's, to be measured.
    pub fn program(&self, name: &str) -> Result<ProgramFd> {
        let program = self.bpf.program(name).with_context(|| format!("the rig has no {name}"))?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Runs the harness of a hook `times`, at an interface of this thread's namespace: what the kernel
    /// says one repetition took, and the last one's answer. `frame` is as long as the plan's, and of its
    /// family; the rest of it is overwritten.
    pub fn run(&self, hook: Hook, ifindex: u32, frame: &[u8], times: u32) -> Result<Run> {
        let end = u32::try_from(frame.len())?;
        let xdp = [0, end, 0, ifindex, 0, 0];
        let mut skb = [0; SKB_WORDS];
        skb[SKB_IFINDEX] = ifindex;
        let mut out = vec![0; frame.len().max(256)];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::cast_slice(match hook {
                Hook::Xdp => &xdp[..],
                Hook::Tc => &skb[..],
            })),
            repeat: times,
            ..TestRunOptions::new()
        };
        let result = match hook {
            Hook::Xdp => {
                let program: &Xdp = self.bpf.program("harness_xdp").context("none")?.try_into()?;
                program.test_run(options)
            }
            Hook::Tc => {
                let program = self.bpf.program("harness_tc").context("none")?;
                let program: &SchedClassifier = program.try_into()?;
                program.test_run(options)
            }
        }
        .with_context(|| format!("a test run of the harness at {hook:?}"))?;
        out.truncate(result.data_size_out as usize);
        let action = result.return_value.cast_signed();
        ensure!(
            action != REFUSED,
            "the harness at {hook:?} found no plan, no program to go over to, or too short a frame"
        );
        Ok(Run { action, mean: result.duration, frame: out })
    }

    /// Sends `frames` live frames out of an interface of this thread's namespace.
    pub fn generate(&self, ifindex: u32, length: usize, frames: u32) -> Result<Duration> {
        let program: &Xdp = self.bpf.program("generate").context("none")?.try_into()?;
        live::send(program.fd()?.as_fd(), ifindex, length, frames)
            .context("the kernel sends no live frames by BPF_PROG_TEST_RUN (Linux 5.18)")
    }
}

/// How long an interface may stay busy with a program that is gone.
const PATIENCE: Duration = Duration::from_secs(2);

fn is_busy(error: &ProgramError) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::ResourceBusy)
    })
}

/// What a test run of a harness told.
#[derive(Clone, Debug)]
pub struct Run {
    /// `XDP_…` or `TC_ACT_…`.
    pub action: i32,
    /// Of one repetition; the kernel tells whole nanoseconds.
    pub mean: Duration,
    /// The packet afterwards.
    pub frame: Vec<u8>,
}

/// What a harness answers when it can't do its part; no program that is measured does.
const REFUSED: i32 = 99;

// Places in `struct __sk_buff` (linux/bpf.h), in words of four bytes.
const SKB_WORDS: usize = 48;
const SKB_IFINDEX: usize = 10;

/// Stores an element whose type aya doesn't know, by its length.
fn store(map: &mut aya::maps::Map, index: u32, bytes: &[u8]) -> Result<()> {
    fn of<const N: usize>(map: &mut aya::maps::Map, index: u32, bytes: &[u8]) -> Result<()> {
        let mut array: Array<_, [u8; N]> = Array::try_from(map)?;
        Ok(array.set(index, <[u8; N]>::try_from(bytes)?, 0)?)
    }
    const PLAN: usize = size_of::<Plan>();
    match bytes.len() {
        4 => of::<4>(map, index, bytes),
        12 => of::<12>(map, index, bytes),
        24 => of::<24>(map, index, bytes),
        PLAN => of::<PLAN>(map, index, bytes),
        other => bail!("the rig has no elements of {other} bytes"),
    }
}
