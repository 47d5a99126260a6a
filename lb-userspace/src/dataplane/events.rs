//! What the programs tell of single packets: the ring buffer, and the right to read it.

use std::fs::File;

use aya::maps::{Map, MapData, RingBuf};
use lb_common::tables::Sample;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{DataplaneError, Pins, tables::open};

/// The reading end of the ring buffer. There is one at a time, because what it reads is gone.
pub struct Events {
    ring: RingBuf<MapData>,
    _only: Flock<File>,
}

impl Events {
    /// Opens it, unless somebody else reads.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let path = pins.maps();
        let failed = |action, source| DataplaneError::Pin { action, path: path.clone(), source };
        let directory = File::open(&path).map_err(|source| failed("open", source))?;
        let only = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Err(DataplaneError::Read { path }),
            Err((_, errno)) => return Err(failed("lock", errno.into())),
        };
        let ring = RingBuf::try_from(Map::RingBuf(open(pins, "EVENTS")?)).map_err(|source| {
            DataplaneError::Map { map: "EVENTS", source: Some(Box::new(source)) }
        })?;
        Ok(Self { ring, _only: only })
    }

    /// The next one, if there is one; none is left out.
    pub fn read(&mut self) -> Result<Option<Sample>, DataplaneError> {
        let Some(record) = self.ring.next() else {
            return Ok(None);
        };
        bytemuck::try_pod_read_unaligned(&record)
            .map(Some)
            .map_err(|_| DataplaneError::Map { map: "EVENTS", source: None })
    }
}
