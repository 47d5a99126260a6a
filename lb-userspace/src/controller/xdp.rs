//! XDP at uplinks: where it can be had.

use crate::dataplane::{Point, XdpMode};

use super::Controller;

impl Controller {
    /// Attaches XDP to uplinks where it isn't yet. Where it can't be had, TC does all the work, and that is noted.
    pub(super) fn attach_xdp(&mut self) {
        let mode = self.options.xdp;
        if mode == XdpMode::Off {
            return;
        }
        for (index, uplink) in &self.interfaces.uplinks {
            if uplink.is_bare {
                let what = "has no link layer: no XDP, TC does all the work there";
                if self.notes.insert(format!("{} {what}", uplink.name)) {
                    tracing::info!(uplink = uplink.name, "{what}");
                }
                continue;
            }
            if self.hookup.is_attached(*index, Point::UplinkXdp) {
                continue;
            }
            if let Err(error) =
                self.hookup.attach_xdp(&mut self.programs, *index, &uplink.name, mode)
                && self.notes.insert(format!("{error}; TC does all the work there"))
            {
                tracing::warn!(%error, "TC does all the work there");
            }
        }
    }
}
