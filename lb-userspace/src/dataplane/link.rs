//! A pinned link gets another program, at once for whoever it sees: what aya does for links at interfaces only.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

const OBJ_GET: i64 = 7;
const LINK_UPDATE: i64 = 29;

/// The members of `union bpf_attr` (linux/bpf.h) that open a pin.
#[repr(C)]
struct GetAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Those that replace a link's program.
#[repr(C)]
struct UpdateAttributes {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

fn bpf<T>(command: i64, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: `attributes` lives through the call, is as long as said, and its pointer leads to a string that
    // the caller below keeps.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Gives the link that is pinned there this program. Fails also if what it was attached to is gone.
pub fn replace(pin: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = GetAttributes { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    let link = i32::try_from(bpf(OBJ_GET, &mut get)?).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave it to us, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    let mut update = UpdateAttributes {
        link: link.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        flags: 0,
        old_program: 0,
    };
    bpf(LINK_UPDATE, &mut update).map(drop)
}
