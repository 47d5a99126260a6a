//! Processes that were refused a node port, as the programs tell of them.

use std::io;

use aya::maps::{Map, MapData, RingBuf};
use lb_common::{tables::RefusedBind, wire::Protocol};
use tokio::io::{Interest, unix::AsyncFd};

use super::{DataplaneError, Pins, tables::open};

/// The reading end of their ring buffer.
pub struct RefusedBinds(AsyncFd<RingBuf<MapData>>);

impl RefusedBinds {
    /// Opens it; in a runtime.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let ring = RingBuf::try_from(Map::RingBuf(open(pins, "BINDS")?)).map_err(|source| {
            DataplaneError::Map { map: "BINDS", source: Some(Box::new(source)) }
        })?;
        // SAFETY: the ring has a descriptor of its own, always the same, as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|error| DataplaneError::MapOperation {
            action: "wait for",
            map: "BINDS",
            source: error.into(),
        })?;
        Ok(Self(ring))
    }

    /// The next one. None is lost if this is not waited for to the end.
    pub async fn next(&mut self) -> io::Result<RefusedBind> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            if let Some(record) = ready.get_inner_mut().next() {
                return bytemuck::try_pod_read_unaligned(&record)
                    .map_err(|_| io::Error::other("a record of another length"));
            }
            ready.clear_ready();
        }
    }
}

/// Says in the log who it was.
pub fn tell_of_bind(bind: &RefusedBind) {
    let protocol = match Protocol(bind.protocol) {
        Protocol::UDP => "UDP",
        _ => "TCP",
    };
    tracing::warn!(
        process = bind.pid,
        command = command(bind),
        port = bind.port.to_host(),
        protocol,
        "refused to a process: that is a node port of a Service"
    );
}

/// The name of the process.
fn command(bind: &RefusedBind) -> String {
    let bytes: &[u8] = bytemuck::bytes_of(&bind.command);
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_first_zero() {
        let bytes = *b"nginx\0xxxxxxxxxx";
        let bind = RefusedBind { command: bytemuck::cast(bytes), ..RefusedBind::default() };
        assert_eq!(command(&bind), "nginx");
    }
}
