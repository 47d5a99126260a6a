//! The programs at sockets: loaded when they are wanted, attached to a cgroup by pinned links, which outlive the
//! control program and are replaced in place by the next one.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::programs::{
    CgroupAttachMode, CgroupSock, CgroupSockAddr, Program, ProgramError,
    links::{FdLink, LinkError, PinnedLink},
};
use clap::ValueEnum;
use thiserror::Error;

use super::{Cgroup, CgroupError, DataplaneError, Pins, Programs, link, object::missing};

/// Which sockets are given an endpoint when they connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SocketMode {
    /// Those of all processes on the node, pods' too.
    #[default]
    All,
    /// Those in the node's own network namespace.
    Host,
    /// None: the packets are translated, as far as they can be.
    Off,
}

/// What the programs take for granted while they are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketScope {
    /// The number of the node's network namespace; 0: the machine's first one.
    pub namespace: u64,
    /// Whether sockets of other ones are left alone.
    pub host_only: bool,
}

/// The programs could not be attached.
#[derive(Debug, Error)]
pub enum SocketError {
    /// There is no cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel doesn't take them.
    #[error(transparent)]
    Load(#[from] DataplaneError),
    /// The cgroup doesn't.
    #[error("can't attach {program} to the cgroup {}: {hint}", cgroup.display())]
    Attach {
        /// The program.
        program: &'static str,
        /// The cgroup.
        cgroup: PathBuf,
        /// What may be wrong.
        hint: &'static str,
        /// The reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What is attached to which cgroup.
#[derive(Debug)]
pub struct SocketHookup {
    pins: PathBuf,
    cgroup: Option<PathBuf>,
    held: BTreeMap<&'static str, (PathBuf, PinnedLink)>,
}

impl Programs {
    /// The programs at sockets, those first that show what the later ones did.
    pub const SOCKET_NAMES: [&'static str; 11] = [
        "lb_sock_release",
        "lb_recvmsg4",
        "lb_recvmsg6",
        "lb_peername4",
        "lb_peername6",
        "lb_connect4",
        "lb_connect6",
        "lb_sendmsg4",
        "lb_sendmsg6",
        "lb_post_bind4",
        "lb_post_bind6",
    ];

    /// Loads them.
    pub fn load_sockets(&mut self) -> Result<(), DataplaneError> {
        self.load_programs(&Self::SOCKET_NAMES)
    }
}

impl SocketHookup {
    /// Nothing attached yet by this run.
    pub fn new(pins: &Pins) -> Self {
        Self { pins: pins.sockets(), cgroup: None, held: BTreeMap::new() }
    }

    /// Loads and attaches all of them, or none.
    pub fn attach(
        &mut self,
        programs: &mut Programs,
        cgroup: Option<&Path>,
    ) -> Result<(), SocketError> {
        let cgroup = Cgroup::open(cgroup)?;
        programs.load_sockets()?;
        for name in Programs::SOCKET_NAMES {
            let pin = self.pins.join(format!("{}-{name}", cgroup.inode()));
            let link = attached(programs, name, &cgroup, &pin).map_err(|source| {
                let (program, cgroup, hint) = (name, cgroup.path().to_owned(), hint(&*source));
                SocketError::Attach { program, cgroup, hint, source }
            })?;
            self.held.insert(name, (pin, link));
        }
        self.cgroup = Some(cgroup.path().to_owned());
        Ok(())
    }

    /// The cgroup, and the programs that see its sockets.
    pub fn attached(&self) -> Option<(&Path, Vec<&'static str>)> {
        let cgroup = self.cgroup.as_deref()?;
        Some((cgroup, self.held.keys().copied().collect()))
    }

    /// Detaches what an earlier run left, at another cgroup or although none is wanted any more.
    pub fn detach_others(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.pins)? {
            let path = entry?.path();
            if !self.held.values().any(|(pin, _)| *pin == path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Detaches everything.
    pub fn detach_all(&mut self) -> io::Result<()> {
        self.cgroup = None;
        // With its pin gone and the handle dropped, a link ends.
        self.held.clear();
        self.detach_others()
    }
}

type Failed = Box<dyn Error + Send + Sync>;

/// The link that an earlier run pinned, now with our program, or a new one.
fn attached(
    programs: &mut Programs,
    name: &'static str,
    cgroup: &Cgroup,
    pin: &Path,
) -> Result<PinnedLink, Failed> {
    let program = programs.program_mut(name)?;
    if pin.exists() {
        let fd = match program {
            Program::CgroupSockAddr(program) => program.fd()?,
            Program::CgroupSock(program) => program.fd()?,
            _ => return Err(missing(name).into()),
        };
        match link::replace(pin, fd.as_fd()) {
            Ok(()) => return Ok(PinnedLink::from_pin(pin)?),
            Err(error) => {
                tracing::debug!(pin = %pin.display(), %error, "a pinned link is dead");
                fs::remove_file(pin)?;
            }
        }
    }
    let link = match program {
        Program::CgroupSockAddr(program) => new_address_link(program, cgroup)?,
        Program::CgroupSock(program) => new_link(program, cgroup)?,
        _ => return Err(missing(name).into()),
    };
    Ok(link.pin(pin)?)
}

// A link lets others be attached beside it by itself, and the kernel wants no flag for that: `Single` is none.

fn new_address_link(program: &mut CgroupSockAddr, cgroup: &Cgroup) -> Result<FdLink, Failed> {
    let id = program.attach(cgroup, CgroupAttachMode::Single)?;
    FdLink::try_from(program.take_link(id)?).map_err(LinkError::into)
}

fn new_link(program: &mut CgroupSock, cgroup: &Cgroup) -> Result<FdLink, Failed> {
    let id = program.attach(cgroup, CgroupAttachMode::Single)?;
    FdLink::try_from(program.take_link(id)?).map_err(LinkError::into)
}

fn hint(error: &(dyn Error + Send + Sync + 'static)) -> &'static str {
    let errno = match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::SyscallError(error)) => error.io_error.raw_os_error(),
        _ => None,
    };
    match errno {
        Some(libc::EPERM) => {
            "another program is attached there, or above, that lets none beside it; or CAP_BPF and CAP_NET_ADMIN are missing"
        }
        _ => "the kernel refused; it needs CONFIG_CGROUP_BPF",
    }
}
