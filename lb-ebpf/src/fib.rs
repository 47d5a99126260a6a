//! Asking the kernel's routing table, the same way from XDP and TC.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_fib_lookup;
use lb_common::{
    addr::{Ipv4, Ipv6},
    pipeline::{Route, RouteQuery},
    tables::Egress,
    wire::MacPair,
};

/// The sixteen bytes of an address.
#[repr(C)]
struct Words(u64, u64);

/// `struct bpf_fib_lookup` (linux/bpf.h), in words.
#[repr(C)]
struct Params {
    family: u8,
    l4_protocol: u8,
    sport: u16,
    dport: u16,
    tot_len: u16,
    ifindex: u32,
    tos: u32,
    source: Words,
    destination: Words,
    vlan: u32,
    /// Source, then destination address of the next hop's link.
    macs: MacPair,
}

const _: () = assert!(size_of::<Params>() == 64);

/// A family as the routing table knows it.
pub trait FibFamily: Copy {
    /// `AF_INET` or `AF_INET6`.
    const AF: u8;
    /// The address at the beginning of sixteen bytes.
    fn words(self) -> (u64, u64);
}

impl FibFamily for Ipv4 {
    const AF: u8 = 2;

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        // The four bytes go first in memory.
        let first = if cfg!(target_endian = "little") {
            u64::from(self.to_wire())
        } else {
            u64::from(self.to_wire()) << 32
        };
        (first, 0)
    }
}

impl FibFamily for Ipv6 {
    const AF: u8 = 10;

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        let [first, second] = self.to_wire();
        (first, second)
    }
}

// Answers of the helper (linux/bpf.h).
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const FORWARDING_OFF: i64 = 5;
const NO_NEIGHBOUR: i64 = 7;
const TOO_BIG: i64 = 8;

/// Asks for the way of a packet that came in on the query's interface.
#[inline(always)]
pub fn lookup<A: FibFamily>(ctx: *mut c_void, query: &RouteQuery<A>, egress: &mut Egress) -> Route {
    let mut params = MaybeUninit::<Params>::uninit();
    let at = params.as_mut_ptr();
    // Field by field and volatile, because the compiler would make the zeros a call of `memset`,
    // which on this target is a loop over bytes.
    // SAFETY: all within `params`; every byte of it is written, so it is initialised afterwards.
    unsafe {
        (&raw mut (*at).family).write_volatile(A::AF);
        (&raw mut (*at).l4_protocol).write_volatile(0);
        (&raw mut (*at).sport).write_volatile(0);
        (&raw mut (*at).dport).write_volatile(0);
        // 0: the length isn't checked; the pipeline does that for every packet.
        (&raw mut (*at).tot_len).write_volatile(0);
        (&raw mut (*at).ifindex).write_volatile(query.ifindex);
        (&raw mut (*at).tos).write_volatile(0);
        let ((s0, s1), (d0, d1)) = (query.source.words(), query.destination.words());
        (&raw mut (*at).source.0).write_volatile(s0);
        (&raw mut (*at).source.1).write_volatile(s1);
        (&raw mut (*at).destination.0).write_volatile(d0);
        (&raw mut (*at).destination.1).write_volatile(d1);
        (&raw mut (*at).vlan).write_volatile(0);
        (&raw mut (*at).macs).write_volatile(MacPair::from_wire(0, 0, 0));
    }
    // SAFETY: `ctx` is the program's own context, `params` a whole `struct bpf_fib_lookup`.
    let answer = unsafe { bpf_fib_lookup(ctx, at.cast(), size_of::<Params>() as i32, 0) };
    // SAFETY: initialised above; the helper writes whole fields only.
    let params = unsafe { params.assume_init_ref() };
    match answer {
        // TC's helper measures the packet even when it isn't asked to; the way is the same.
        SUCCESS | TOO_BIG => {
            egress.ifindex = params.ifindex;
            egress.macs = params.macs.swapped();
            egress.flags = Egress::NEIGHBOUR;
            Route::Via
        }
        NO_NEIGHBOUR => {
            egress.ifindex = params.ifindex;
            Route::Unresolved
        }
        // Also when there is no IPv4 route at all: the stack then answers as it would have.
        NOT_FORWARDED => Route::Local,
        FORWARDING_OFF => Route::ForwardingOff,
        _ => Route::None,
    }
}
