//! The socket whose system call a program sees, and how the call can be refused.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::generated::{
        bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_set_retval,
    },
};
use lb_common::{socket::Socket, tables::Cookie};

/// The system call goes on.
pub const ALLOW: i32 = 1;

/// It fails.
const REFUSE: i32 = 0;

/// The number of the node's network namespace; 0: the machine's first one. This and the following are set when
/// the programs are loaded, so that the verifier takes out the ways that aren't gone.
#[unsafe(no_mangle)]
static NODE_NAMESPACE: Global<u64> = Global::new(0);

/// 1: sockets of other network namespaces are left alone.
#[unsafe(no_mangle)]
static HOST_ONLY: Global<u64> = Global::new(0);

/// 1: programs at sockets may say what a system call fails with (Linux 6.1); else that is EPERM.
#[unsafe(no_mangle)]
static SET_RETVAL: Global<u64> = Global::new(0);

/// A socket, by the context of a program at a cgroup.
#[derive(Clone, Copy)]
pub struct Asking {
    ctx: *mut c_void,
}

impl Asking {
    /// The one whose system call has this context.
    #[inline(always)]
    pub const fn at(ctx: *mut c_void) -> Self {
        Self { ctx }
    }
}

impl Socket for Asking {
    #[inline(always)]
    fn cookie(&self) -> Cookie {
        // SAFETY: the program's own context.
        Cookie::new(unsafe { bpf_get_socket_cookie(self.ctx) })
    }

    #[inline(always)]
    fn namespace(&self) -> u64 {
        // SAFETY: the program's own context.
        unsafe { bpf_get_netns_cookie(self.ctx) }
    }

    #[inline(always)]
    fn is_of_node(&self) -> bool {
        let mut node = NODE_NAMESPACE.load();
        if node == 0 {
            // SAFETY: no context: the machine's first namespace is asked for.
            node = unsafe { bpf_get_netns_cookie(core::ptr::null_mut()) };
        }
        self.namespace() == node
    }

    #[inline(always)]
    fn is_served(&self) -> bool {
        HOST_ONLY.load() == 0 || self.is_of_node()
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: takes nothing, touches nothing.
        unsafe { bpf_get_prandom_u32() }
    }
}

/// Fails the system call with this error, where the kernel can.
#[inline(always)]
pub fn refuse(errno: i32) -> i32 {
    if SET_RETVAL.load() != 0 {
        // SAFETY: takes a number only.
        unsafe { bpf_set_retval(-errno) };
    }
    REFUSE
}
