//! One packet through one program.

use anyhow::{Context as _, Result, bail};
use aya::programs::{Program, ProgramError, TestRun as _, TestRunOptions, TestRunResult};
use lb_common::hook::Hook;
use lb_userspace::dataplane::Programs;
use nix::errno::Errno;

use super::{Bed, LOOPBACK};

/// A program and what it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// XDP of an uplink.
    Xdp,
    /// TC at a hook.
    Tc(Hook),
}

impl Point {
    /// All programs that see packets.
    pub const ALL: [Self; 5] = [
        Self::Xdp,
        Self::Tc(Hook::WorkloadIn),
        Self::Tc(Hook::WorkloadOut),
        Self::Tc(Hook::UplinkIn),
        Self::Tc(Hook::UplinkOut),
    ];

    /// The program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Xdp => "lb_xdp",
            Self::Tc(Hook::WorkloadIn) => "lb_workload_in",
            Self::Tc(Hook::WorkloadOut) => "lb_workload_out",
            Self::Tc(Hook::UplinkIn) => "lb_uplink_in",
            Self::Tc(Hook::UplinkOut | Hook::HostOut) => "lb_uplink_out",
        }
    }

    /// The hook that it is in flows' keys.
    pub const fn hook(self) -> Hook {
        match self {
            Self::Xdp => Hook::UplinkIn,
            Self::Tc(hook) => hook,
        }
    }
}

/// Where a packet is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// By which program.
    pub point: Point,
    /// At which interface.
    pub ifindex: u32,
    /// Payload bytes of each segment if it is to be cut up, else 0.
    pub segment_payload: u32,
}

/// What a program answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// `XDP_…` or `TC_ACT_…`.
    pub action: i32,
    /// How many bytes of the buffer are the packet now.
    pub len: usize,
}

// Places in `struct __sk_buff` (linux/bpf.h), in words of four bytes. The kernel takes only some of
// the fields from a test run (`convert___skb_to_skb` in net/bpf/test_run.c), these among them.
const SKB_WORDS: usize = 48;
const SKB_IFINDEX: usize = 10;
const SKB_GSO_SEGMENTS: usize = 41;
const SKB_GSO_SIZE: usize = 44;

impl Bed {
    /// Puts a frame through a program; `out` is at least as long as the frame, and holds the packet
    /// afterwards. `None`: the kernel refused to make a packet of it.
    pub fn run(&self, at: At, frame: &[u8], out: &mut [u8]) -> Result<Option<Ran>> {
        match self.repeat(at, frame, Some(out), 1) {
            Ok(result) => Ok(Some(Ran {
                action: result.return_value.cast_signed(),
                len: result.data_size_out as usize,
            })),
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::InvalidInput =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("running {at:?}")),
        }
    }

    /// Runs a program on a frame some times; each run sees what the one before left of it.
    pub fn repeat(
        &self,
        at: At,
        frame: &[u8],
        out: Option<&mut [u8]>,
        times: u32,
    ) -> Result<TestRunResult, ProgramError> {
        let length = u32::try_from(frame.len()).expect("a frame");
        match at.point {
            Point::Xdp => {
                let context = xdp_context(length, at.ifindex);
                // Without one, XDP is at the loopback device.
                let context = if at.ifindex == LOOPBACK { &[][..] } else { &context };
                self.call(at.point.program(), frame, out, context, times)
            }
            Point::Tc(_) => {
                let mut context = [0; SKB_WORDS];
                context[SKB_IFINDEX] = at.ifindex;
                if at.segment_payload > 0 {
                    context[SKB_GSO_SIZE] = at.segment_payload;
                    context[SKB_GSO_SEGMENTS] = length.div_ceil(at.segment_payload);
                }
                self.call(at.point.program(), frame, out, &context, times)
            }
        }
    }

    /// Runs a program by name.
    pub fn call(
        &self,
        name: &'static str,
        frame: &[u8],
        out: Option<&mut [u8]>,
        context: &[u32],
        times: u32,
    ) -> Result<TestRunResult, ProgramError> {
        call(&self.programs, name, frame, out, context, times)
    }
}

fn call(
    programs: &Programs,
    name: &'static str,
    frame: &[u8],
    out: Option<&mut [u8]>,
    context: &[u32],
    times: u32,
) -> Result<TestRunResult, ProgramError> {
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: out,
        ctx_in: (!context.is_empty()).then(|| bytemuck::cast_slice(context)),
        repeat: times,
        ..TestRunOptions::new()
    };
    match programs.program(name) {
        Some(Program::Xdp(program)) => program.test_run(options),
        Some(Program::SchedClassifier(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// `struct xdp_md`: data, `data_end`, `data_meta`, `ingress_ifindex`, `rx_queue_index`,
/// `egress_ifindex`.
const fn xdp_context(length: u32, ifindex: u32) -> [u32; 6] {
    [0, length, 0, ifindex, 0, 0]
}

/// Whether this kernel can be told where XDP sees a frame: since "bpf: Support specifying ingress via
/// `xdp_md` context in `BPF_PROG_TEST_RUN`" (ec94670fcb3b). Found by trying it with an interface that
/// isn't there, so that nothing runs and nothing is counted.
pub fn takes_xdp_context(programs: &Programs) -> Result<bool> {
    let context = xdp_context(64, i32::MAX.cast_unsigned());
    let ran = call(programs, Point::Xdp.program(), &[0; 64], None, &context, 1);
    let Err(error) = ran else { bail!("XDP ran at an interface that isn't there") };
    let number = match &error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error().map(Errno::from_raw),
        _ => None,
    };
    match number {
        Some(Errno::ENODEV) => Ok(true),
        Some(Errno::EINVAL) => Ok(false),
        _ => Err(error).context("trying whether XDP can be given a context"),
    }
}
