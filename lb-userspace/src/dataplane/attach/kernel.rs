//! Links and filters themselves: new ones, and those of an earlier run taken over in place.

use std::path::Path;

use aya::programs::{
    ProgramError, SchedClassifier, Xdp,
    links::{FdLink, LinkError, LinkOrder, PinnedLink},
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
    xdp::XdpLink,
};

use super::{Point, remove};

/// Priority and handle of our filters where TCX is missing: found again by them after a crash.
const FILTER_PRIORITY: u16 = 1;
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 0x6c62);

/// A link that an earlier run pinned, now with our program; `None` if there is none, or if it is
/// dead because its interface is gone: then its pin is removed.
pub fn taken_over(
    pin: &Path,
    replace: impl FnOnce(FdLink) -> Result<FdLink, ProgramError>,
) -> Option<FdLink> {
    let old = PinnedLink::from_pin(pin).ok()?;
    match replace(FdLink::from(old)) {
        Ok(link) => Some(link),
        Err(error) => {
            tracing::debug!(pin = %pin.display(), %error, "a pinned link is dead");
            // What can't be removed shows when the new link is to be pinned there.
            let _ = remove(pin);
            None
        }
    }
}

pub fn pinned(
    link: FdLink,
    pin: &Path,
) -> Result<PinnedLink, Box<dyn std::error::Error + Send + Sync>> {
    if pin.exists() {
        return Ok(PinnedLink::from_pin(pin)?);
    }
    Ok(link.pin(pin)?)
}

pub fn replace_xdp(program: &mut Xdp, link: FdLink) -> Result<FdLink, ProgramError> {
    let id = program.attach_to_link(XdpLink::try_from(link).map_err(link_error)?)?;
    FdLink::try_from(program.take_link(id)?).map_err(link_error)
}

pub fn new_xdp(
    program: &mut Xdp,
    ifindex: u32,
    mode: aya::programs::XdpMode,
) -> Result<FdLink, ProgramError> {
    let id = program.attach_to_if_index(ifindex, mode)?;
    FdLink::try_from(program.take_link(id)?).map_err(link_error)
}

pub fn replace_tcx(program: &mut SchedClassifier, link: FdLink) -> Result<FdLink, ProgramError> {
    let id = program.attach_to_link(SchedClassifierLink::try_from(link).map_err(link_error)?)?;
    FdLink::try_from(program.take_link(id)?).map_err(link_error)
}

/// A new TCX link, or `None` if the kernel has no such thing (before 6.6).
pub fn new_tcx(
    program: &mut SchedClassifier,
    interface: &str,
    point: Point,
) -> Result<Option<FdLink>, ProgramError> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    match program.attach_with_options(interface, point.direction(), options) {
        Ok(id) => Ok(Some(FdLink::try_from(program.take_link(id)?).map_err(link_error)?)),
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Our filter at an interface, in place of one that an earlier run left.
pub fn attach_filter(
    program: &mut SchedClassifier,
    interface: &str,
    point: Point,
) -> Result<SchedClassifierLink, ProgramError> {
    match qdisc_add_clsact(interface) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let options =
        NlOptions { priority: FILTER_PRIORITY, handle: FILTER_HANDLE, ..NlOptions::default() };
    let fresh = program.attach_with_options(
        interface,
        point.direction(),
        TcAttachOptions::Netlink(options),
    );
    let id = match fresh {
        Ok(id) => id,
        Err(first) => {
            let old = SchedClassifierLink::attached(
                interface,
                point.direction(),
                FILTER_PRIORITY,
                FILTER_HANDLE,
                None,
            )?;
            program.attach_to_link(old).map_err(|_| first)?
        }
    };
    program.take_link(id)
}

fn link_error(error: LinkError) -> ProgramError {
    match error {
        LinkError::SyscallError(error) => ProgramError::SyscallError(error),
        _ => ProgramError::UnexpectedProgramType,
    }
}
