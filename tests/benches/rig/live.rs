//! Live frames by `BPF_PROG_TEST_RUN`: the kernel makes frames, runs the program on each, and carries its
//! action out. aya has the call, but neither the batch size nor a repetition count of this kind is
//! checked there; here is the system call itself.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    time::{Duration, Instant},
};

const PROG_TEST_RUN: i64 = 10;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`.
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames between two breaths of the kernel: less than the ring of a veth (256), so that none is lost.
const BATCH: u32 = 64;

/// The `test` member of `union bpf_attr` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// Runs an XDP program on `frames` frames of `length` bytes that seem to come in at an interface, and
/// carries its actions out. Returns how long that took.
pub fn send(
    program: BorrowedFd<'_>,
    ifindex: u32,
    length: usize,
    frames: u32,
) -> io::Result<Duration> {
    let frame = vec![0u8; length];
    let length = u32::try_from(length).map_err(io::Error::other)?;
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let context = [0u32, length, 0, ifindex, 0, 0];
    let mut attributes = Attributes {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        data_size_in: length,
        data_in: frame.as_ptr() as u64,
        repeat: frames,
        ctx_size_in: u32::try_from(size_of_val(&context)).map_err(io::Error::other)?,
        ctx_in: context.as_ptr() as u64,
        flags: LIVE_FRAMES,
        batch_size: BATCH,
        ..Attributes::default()
    };
    let begun = Instant::now();
    // SAFETY: `attributes` and the memory that it leads to live through the call and are as long as said.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut attributes, size_of::<Attributes>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(begun.elapsed()) }
}
