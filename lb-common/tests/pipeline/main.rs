//! The packet pipeline on the host: the very code that runs in the kernel, over tables in ordinary
//! memory, fed with packets that are built byte by byte without it.
//!
//! Every test asks for the whole outcome: verdict, all bytes, counters. What only the kernel can
//! show (the verifier, checksum offload, real neighbours) does not belong here.

mod admission;
mod affinity;
mod agreement;
mod algorithms;
mod answers;
mod bare;
mod bridged;
mod collisions;
mod drops;
mod drops_midway;
mod errors;
mod flows;
mod graduation;
mod hairpin;
mod held;
mod host;
mod jumbo;
mod life;
mod local;
mod lost;
mod odd;
mod passes;
mod properties;
mod race;
mod remote;
mod selection;
mod sockets;
mod strays;
mod told;
mod traffic;
mod unanswered;
mod world;
mod xdp;
