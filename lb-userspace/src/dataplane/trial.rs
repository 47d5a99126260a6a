//! What the running kernel has, found by trying with programs of a few instructions: to load the whole
//! object takes a second, and what was found has a part in that.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;

const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const XDP_HAS_FRAGS: u32 = 1 << 5;
const CGROUP_INET4_CONNECT: u32 = 10;

/// The helper `bpf_set_retval`.
const SET_RETVAL: i32 = 187;

/// The helper `bpf_l4_csum_replace`, and its flags `BPF_F_PSEUDO_HDR` and `BPF_F_IPV6`.
const L4_CSUM_REPLACE: i32 = 11;
const PSEUDO_HDR: i32 = 1 << 4;
const IPV6: i32 = 1 << 7;

/// `struct bpf_insn` without the fields that are 0 here.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const EXIT: Self = Self { code: 0x95, registers: 0, offset: 0, immediate: 0 };

    const fn call(helper: i32) -> Self {
        Self { code: 0x85, registers: 0, offset: 0, immediate: helper }
    }

    /// Puts a number into a register.
    const fn set(register: u8, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "big") { register << 4 } else { register };
        Self { code: 0xb7, registers, offset: 0, immediate }
    }
}

/// The members of `union bpf_attr` that load a program (linux/bpf.h).
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u64; 2],
    ifindex: u32,
    attach_type: u32,
}

/// Those that run one on a packet.
#[repr(C)]
struct RunAttributes {
    program: u32,
    answer: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// What a kernel has of what `lb` makes use of and can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// XDP programs may say that they know packets in several buffers (Linux 5.18).
    pub frags: bool,
    /// The helper that changes transport checksums can be told that the addresses are IPv6's (Linux 6.16
    /// and what took that over).
    pub ipv6_flag: bool,
    /// Programs at sockets may say what a system call fails with (Linux 6.1).
    pub retval: bool,
}

impl Features {
    /// The running kernel's.
    pub fn tried() -> io::Result<Self> {
        Ok(Self { frags: takes_frags()?, ipv6_flag: takes_ipv6_flag()?, retval: takes_retval()? })
    }
}

/// Lifts the limit of locked memory: before Linux 5.11 programs and maps count as such, also those that an
/// instance before this one left. Where that is refused there may be room all the same; if not, loading fails
/// and says so.
pub fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Makes the call.
fn bpf<T>(command: i64, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: `attributes` lives through the call, is as long as said, and its pointers lead to memory
    // that the callers below keep, as long as they say.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn load(
    program_type: u32,
    attach_type: u32,
    instructions: &[Instruction],
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LoadAttributes {
        program_type,
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags,
        name: [0; 2],
        ifindex: 0,
        attach_type,
    };
    let program = bpf(PROG_LOAD, &mut attributes)?;
    let program = i32::try_from(program).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave it to us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

fn takes_frags() -> io::Result<bool> {
    takes(load(PROG_TYPE_XDP, 0, &[Instruction::set(0, 0), Instruction::EXIT], XDP_HAS_FRAGS))
}

/// The programs that see sockets bound got the helper with those that see them connect.
fn takes_retval() -> io::Result<bool> {
    let instructions = [
        Instruction::set(1, -libc::ECONNREFUSED),
        Instruction::call(SET_RETVAL),
        Instruction::set(0, 0),
        Instruction::EXIT,
    ];
    takes(load(PROG_TYPE_CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT, &instructions, 0))
}

/// Whether a program was taken.
fn takes(loaded: io::Result<OwnedFd>) -> io::Result<bool> {
    match loaded {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks the helper to change the checksum of a packet.
fn takes_ipv6_flag() -> io::Result<bool> {
    let packet = [0_u8; 64];
    let (at, from, change) = (50, 0, 1);
    let program = load(
        PROG_TYPE_SCHED_CLS,
        0,
        &[
            Instruction::set(2, at),
            Instruction::set(3, from),
            Instruction::set(4, change),
            Instruction::set(5, PSEUDO_HDR | IPV6),
            Instruction::call(L4_CSUM_REPLACE),
            Instruction::EXIT,
        ],
        0,
    )?;
    let mut attributes = RunAttributes {
        program: program.as_raw_fd().cast_unsigned(),
        answer: 0,
        size_in: u32::try_from(packet.len()).map_err(io::Error::other)?,
        size_out: 0,
        data_in: packet.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    bpf(PROG_TEST_RUN, &mut attributes)?;
    match -attributes.answer.cast_signed() {
        0 => Ok(true),
        libc::EINVAL => Ok(false),
        other => Err(io::Error::from_raw_os_error(other)),
    }
}
