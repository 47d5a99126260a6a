//! Asking the kernel for sockets of this node.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{
    bindings::bpf_sock_tuple,
    helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use lb_common::{addr::Ipv4, tables::FlowKey, wire::Protocol};

/// The network namespace of the program's own context.
const OWN_NAMESPACE: u64 = u64::MAX;

// A flow's key begins as `struct bpf_sock_tuple` (linux/bpf.h) does: both addresses, both ports.
const _: () = assert!(offset_of!(FlowKey<Ipv4>, protocol) == 12);

/// Whether there is a socket for a packet with a key's addresses and ports: connected, listening, or bound.
#[inline(always)]
pub fn has_socket<A>(ctx: *mut c_void, key: &FlowKey<A>) -> bool {
    let tuple = core::ptr::from_ref(key).cast_mut().cast::<bpf_sock_tuple>();
    let len = offset_of!(FlowKey<A>, protocol) as u32;
    // SAFETY: the program's own context, and `len` bytes of the key, which the helpers only read.
    let socket = unsafe {
        match Protocol(key.protocol) {
            Protocol::TCP => bpf_skc_lookup_tcp(ctx, tuple, len, OWN_NAMESPACE, 0),
            Protocol::UDP => bpf_sk_lookup_udp(ctx, tuple, len, OWN_NAMESPACE, 0),
            _ => return false,
        }
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that a look-up gave, with its reference, which ends here.
    unsafe { bpf_sk_release(socket.cast()) };
    true
}
