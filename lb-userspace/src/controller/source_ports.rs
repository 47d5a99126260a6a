//! The ports for SNAT while `lb` runs: they follow the host's settings, and somebody is told before a way
//! runs out of them.

use std::collections::BTreeMap;

use super::settings;
use crate::{
    dataplane::{
        Tables,
        census::{Census, Headroom, Way},
    },
    model::NodePortRange,
};

/// From how many percent on a way is nearly full.
const NEARLY: u32 = 80;

/// From how many on it is as good as full: the search for a free port tries sixteen.
const FULL: u32 = 99;

/// Below how many it is forgotten that somebody was told.
const FORGOTTEN: u32 = 70;

/// Of how many ways somebody is told in one pass.
const MOST: usize = 10;

/// What is remembered from pass to pass.
#[derive(Debug, Default)]
pub struct SourcePorts {
    told: BTreeMap<Way, Level>,
    /// The settings leave none, and somebody was told.
    none_left: bool,
}

/// How full a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Nearly,
    Full,
}

impl SourcePorts {
    /// Takes what a pass over the flows has counted, and what the settings say now.
    ///
    /// Flows keep their ports when the settings change: as long as one is there, replies to its port are
    /// recognised. A range that was just left is so until the next pass, because a program may be
    /// beginning a flow with one of its ports.
    pub fn follow(&mut self, tables: &Tables, census: &Census, node_ports: NodePortRange) {
        self.warn(census);
        let (ports, _) = tables.source_ports();
        match settings::source_ports(node_ports) {
            Ok(now) if now != ports => {
                tables.set_source_ports(now);
                tracing::info!(
                    first = now.first,
                    count = now.count,
                    before_first = ports.first,
                    before_count = ports.count,
                    "source ports follow the host's settings"
                );
                self.none_left = false;
            }
            Ok(_) => {
                tables.set_reply_ports(ports.hull(census.replies()));
                self.none_left = false;
            }
            Err(error) if !self.none_left => {
                tracing::warn!(error = format!("{error:#}"), "source ports stay as they were");
                self.none_left = true;
            }
            Err(_) => {}
        }
    }

    fn warn(&mut self, census: &Census) {
        for (headroom, level) in self.news(&census.fullest(MOST)) {
            let Headroom { source, remote, protocol, used, size, .. } = headroom;
            let what = match level {
                Level::Nearly => "source ports towards an endpoint are running out",
                Level::Full => "source ports towards an endpoint are used up",
            };
            tracing::warn!(
                %source, %remote, %protocol, used, size,
                "{what}: give the uplink more source addresses or the service more endpoints, or narrow net.ipv4.ip_local_port_range"
            );
        }
    }

    /// The ways that have become fuller than somebody was told. The others are forgotten once there is
    /// room again.
    fn news(&mut self, fullest: &[Headroom]) -> Vec<(Headroom, Level)> {
        self.told.retain(|way, _| {
            fullest.iter().any(|one| one.way() == *way && one.percent >= FORGOTTEN)
        });
        let mut news = Vec::new();
        for headroom in fullest {
            let level = match headroom.percent {
                FULL.. => Level::Full,
                NEARLY.. => Level::Nearly,
                _ => continue,
            };
            if self.told.get(&headroom.way()).is_none_or(|told| *told < level) {
                self.told.insert(headroom.way(), level);
                news.push((*headroom, level));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn at(percent: u32) -> Headroom {
        Headroom {
            source: [10, 0, 0, 1].into(),
            remote: ([10, 0, 0, 2], 80).into(),
            protocol: Protocol::Tcp,
            used: percent,
            size: 100,
            percent,
        }
    }

    #[test]
    fn somebody_is_told_once_at_each_level_and_again_after_there_was_room() {
        let mut ports = SourcePorts::default();
        let mut levels = |percent| -> Vec<Level> {
            ports.news(&[at(percent)]).into_iter().map(|(_, level)| level).collect()
        };
        assert_eq!(levels(79), []);
        assert_eq!(levels(80), [Level::Nearly]);
        assert_eq!(levels(85), []);
        assert_eq!(levels(99), [Level::Full]);
        assert_eq!(levels(100), []);
        assert_eq!(levels(85), []);
        assert_eq!(levels(75), []);
        assert_eq!(levels(90), []);
        assert_eq!(levels(69), []);
        assert_eq!(levels(100), [Level::Full]);
    }

    #[test]
    fn a_way_that_is_gone_is_forgotten() {
        let mut ports = SourcePorts::default();
        assert_eq!(ports.news(&[at(90)]).len(), 1);
        assert_eq!(ports.news(&[]).len(), 0);
        assert_eq!(ports.news(&[at(90)]).len(), 1);
    }
}
