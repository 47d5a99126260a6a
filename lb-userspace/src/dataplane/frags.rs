//! XDP for packets that lie in several buffers, as jumbo frames do. Linux takes programs that say they
//! know such packets from 5.18 on, and refuses the flag before. What a program says stands in the name of
//! its section: so an object for an older kernel is the same with another name in it.
//!
//! All of the XDP programs are of one kind: none goes on to another by a tail call.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

const PROG_LOAD: i64 = 5;
const PROG_TYPE_XDP: u32 = 6;
const HAS_FRAGS: u32 = 1 << 5;

/// `r0 = 0; exit`. Nobody runs it.
const SMALLEST: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// What of `union bpf_attr` loads a program (linux/bpf.h).
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instructions: u32,
    at: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The sections of programs that know packets in several buffers, and of ones that don't: with both ends,
/// as strings lie in tables of strings. A name of the same length, so that everything stays in its place.
const NAMES: (&[u8], &[u8]) = (b"xdp.frags\0", b"xdp\0frags\0");

/// Whether this kernel takes such programs: tries with the smallest.
pub fn are_taken() -> io::Result<bool> {
    let attributes = LoadAttributes {
        program_type: PROG_TYPE_XDP,
        instructions: 2,
        at: SMALLEST.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: HAS_FRAGS,
    };
    // SAFETY: `attributes` and what it points to live through the call, and are as long as said.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
    };
    let Ok(program) = i32::try_from(answer) else {
        return Err(io::Error::other("the kernel gave no file descriptor"));
    };
    if program >= 0 {
        // SAFETY: the kernel just gave it to us, and nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(program) });
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        error => Err(error),
    }
}

/// The same object with programs that say nothing of several buffers.
pub fn without(object: &[u8]) -> Vec<u8> {
    let (with, without) = NAMES;
    let mut object = object.to_vec();
    let mut at = 0;
    while let Some(next) = object[at..].windows(with.len()).position(|bytes| bytes == with) {
        at += next;
        object[at..at + with.len()].copy_from_slice(without);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aya_obj::{Object, ProgramSection};

    use super::*;
    use crate::dataplane::OBJECT;

    /// Name and instructions of the programs of an object; XDP programs by whether they know packets in
    /// several buffers.
    fn programs(bytes: &[u8]) -> BTreeMap<String, (Option<bool>, usize)> {
        let object = Object::parse(bytes).unwrap();
        let one = |(name, program): (&String, &aya_obj::Program)| {
            let frags = match program.section {
                ProgramSection::Xdp { frags, .. } => Some(frags),
                _ => None,
            };
            let function = &object.functions[&program.function_key()];
            (name.clone(), (frags, function.instructions.len()))
        };
        object.programs.iter().map(one).collect()
    }

    #[test]
    fn an_object_for_older_kernels_is_the_same_but_for_what_xdp_programs_say_of_several_buffers() {
        let (with, without) = (programs(OBJECT), programs(&without(OBJECT)));
        let xdp = |programs: &BTreeMap<String, (Option<bool>, usize)>, frags| {
            programs.values().filter(|(says, _)| *says == Some(frags)).count()
        };
        assert_eq!((xdp(&with, true), xdp(&with, false)), (3, 0));
        assert_eq!((xdp(&without, true), xdp(&without, false)), (0, 3));
        assert_eq!(with.keys().collect::<Vec<_>>(), without.keys().collect::<Vec<_>>());
        for (name, (_, length)) in &with {
            assert_eq!(without[name].1, *length, "{name}");
        }
    }
}
