//! Why a program could not be attached, in words that tell the operator what to do.

use std::error::Error;

use aya::programs::ProgramError;
use thiserror::Error;

use super::Point;

/// A program could not be attached.
#[derive(Debug, Error)]
#[error("can't attach {point} to {interface}: {hint}")]
pub struct AttachError {
    /// Where.
    pub point: Point,
    /// The interface.
    pub interface: String,
    hint: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::IOError(error) => error.raw_os_error(),
        _ => None,
    }
}

pub fn attach_error(point: Point, interface: &str, source: ProgramError) -> AttachError {
    let hint = match errno(&source) {
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP",
        Some(libc::EBUSY) => "another program is attached there",
        Some(libc::EPERM) => "not permitted; run as root, or with CAP_BPF and CAP_NET_ADMIN",
        Some(libc::ENODEV) => "the interface is gone",
        Some(libc::EINVAL | libc::ERANGE) => {
            "the driver does not take it (its MTU may be too large for XDP: one of over a page takes \
             Linux 5.18 and a driver that knows packets in several buffers)"
        }
        _ => "the kernel refused",
    };
    AttachError { point, interface: interface.to_owned(), hint, source: Box::new(source) }
}

pub fn pin_error(
    point: Point,
    interface: &str,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> AttachError {
    AttachError { point, interface: interface.to_owned(), hint: "its link can't be pinned", source }
}
