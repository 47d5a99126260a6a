//! Frames through all hooks of the pipeline on the host.

use lb_common::{
    host::FamilyState,
    pipeline::Generation,
    tables::{Flow, FlowKey},
    verdict::{PassReason, Verdict},
};
use lb_tests::packet::{checksums_ok, describe};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP},
    world::{LOCAL, POD, REMOTE, World},
};

/// Where a frame may come by.
const HOOKS: [At; 5] = [XDP, UPLINK_IN, UPLINK_OUT, POD_IN, POD_OUT];

/// Before each frame: a byte that says where it comes by and how much later, and two for its length.
const HEAD: usize = 3;

/// The most frames that are looked at.
const MOST: usize = 64;

/// Sends the frames that `bytes` are cut into past the hooks of one world, one after the other.
pub fn check(mut bytes: &[u8]) {
    let mut world = world();
    for _ in 0..MOST {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return };
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        world.now = world.now.wrapping_add(u32::from(head[0] >> 3) * 100);
        send(&world, hook(head[0]), frame);
        bytes = rest;
    }
}

/// A frame as [`check`] reads it.
pub fn record(hook: u8, frame: &[u8]) -> Vec<u8> {
    let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
    let [low, high] = length.to_le_bytes();
    [&[hook, low, high], &frame[..usize::from(length)]].concat()
}

/// The hook that a byte says.
pub(crate) fn hook(byte: u8) -> At {
    HOOKS[usize::from(byte & 7) % HOOKS.len()]
}

/// The world that all targets of packets are in.
pub(crate) fn world() -> World {
    World::new(&[LOCAL, POD, REMOTE])
}

/// Sends one frame past a hook, and panics unless it is left whole when it is left alone, and has right
/// checksums afterwards if it had before. What XDP declines has left nothing behind.
pub(crate) fn send(world: &World, at: At, frame: &[u8]) -> Vec<u8> {
    let before = at.xdp.then(|| flows(world));
    let sent = world.send_frame(at, frame.to_vec());
    let tell = || {
        let (sent, was) = (describe(&sent.frame), describe(frame));
        format!("{at:?}, now {}\nwas    {was}\nbecame {sent}\n{frame:02x?}", world.now)
    };
    match sent.outcome {
        Ok(Verdict::Pass(_)) | Err(_) => assert!(sent.frame == frame, "changed at {}", tell()),
        Ok(Verdict::Answer(_)) => {
            assert!(checksums_ok(&sent.frame), "an answer with wrong checksums at {}", tell());
        }
        Ok(_) => {
            let right = checksums_ok(&sent.frame) || !checksums_ok(frame);
            assert!(right, "checksums got wrong at {}", tell());
        }
    }
    if sent.outcome == Ok(Verdict::Pass(PassReason::Declined)) {
        assert!(
            before.is_none_or(|before| before == flows(world)),
            "declined and kept, {}",
            tell()
        );
    }
    sent.frame
}

type Flows<A> = Vec<(FlowKey<A>, Generation, Flow<A>)>;

fn flows(world: &World) -> (Flows<lb_common::addr::Ipv4>, Flows<lb_common::addr::Ipv6>) {
    (FamilyState::flows(&world.tables.v4), FamilyState::flows(&world.tables.v6))
}
