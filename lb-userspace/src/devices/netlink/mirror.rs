//! What the kernel has told so far: interfaces with their addresses, and which neighbour has which
//! link-layer address. Pure: messages in, what they moved out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::BitOrAssign;

use super::message::Message;
use crate::devices::snapshot::{Devices, Link};

/// Our copy of the kernel's tables. Of routes only where default ones lead is kept; that another one changed
/// is all we need.
#[derive(Debug, Default)]
pub(in crate::devices) struct Mirror {
    pub(in crate::devices) devices: Devices,
    /// Only neighbours to which packets can be sent.
    neighbours: HashMap<(u32, IpAddr), Box<[u8]>>,
}

/// What a message changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::devices) struct Moved {
    /// [`Mirror::devices`] differs from before.
    pub(in crate::devices) devices: bool,
    /// A next hop that was looked up before may be wrong now.
    pub(in crate::devices) paths: bool,
    /// Default routes are to be read again: news don't tell which of several is left.
    pub(in crate::devices) defaults: bool,
}

impl BitOrAssign for Moved {
    fn bitor_assign(&mut self, other: Self) {
        self.devices |= other.devices;
        self.paths |= other.paths;
        self.defaults |= other.defaults;
    }
}

impl Mirror {
    /// Takes a message in.
    pub(super) fn apply(&mut self, message: Message) -> Moved {
        match message {
            Message::Link(link) => {
                let index = link.index;
                let moved = self.set_link(link);
                Moved { defaults: moved.paths && self.has_default(index), ..moved }
            }
            Message::LinkGone(index) => {
                let defaults = self.has_default(index);
                Moved { defaults, ..self.remove_link(index) }
            }
            Message::Address(index, address) => {
                self.change_addresses(index, |link| link.set_address(address))
            }
            Message::AddressGone(index, address) => {
                let moved = self.change_addresses(index, |link| link.remove_address(&address));
                Moved { defaults: moved.devices && self.has_default(index), ..moved }
            }
            Message::Neighbour(index, ip, hardware) => {
                let paths = self.set_neighbour((index, ip), hardware);
                Moved { paths, ..Moved::default() }
            }
            Message::Default(routes) => {
                self.devices.defaults.extend(routes);
                Moved { paths: true, defaults: true, ..Moved::default() }
            }
            Message::DefaultGone => Moved { paths: true, defaults: true, ..Moved::default() },
            Message::NextHopChanged => {
                let defaults = !self.devices.defaults.is_empty();
                Moved { paths: true, defaults, ..Moved::default() }
            }
            Message::RouteChanged => Moved { paths: true, ..Moved::default() },
            Message::Irrelevant => Moved::default(),
        }
    }

    /// Whether a default route leads over an interface. IPv4 routes that end with a link, its last address or their
    /// next hop do so without a word.
    fn has_default(&self, index: u32) -> bool {
        self.devices.defaults.iter().any(|route| route.ifindex == index)
    }

    fn set_link(&mut self, mut link: Link) -> Moved {
        let Some(known) = self.devices.links.get_mut(&link.index) else {
            let paths = link.up;
            self.devices.links.insert(link.index, link);
            return Moved { devices: true, paths, ..Moved::default() };
        };
        // Addresses have messages of their own.
        link.addresses = std::mem::take(&mut known.addresses);
        let where_it_leads = |link: &Link| (link.up, link.mac, link.mtu, link.master);
        let paths = where_it_leads(known) != where_it_leads(&link);
        let before = std::mem::replace(known, link);
        let devices = differs_but_for_addresses(before, known);
        Moved { devices, paths, ..Moved::default() }
    }

    fn remove_link(&mut self, index: u32) -> Moved {
        let existed = self.devices.links.remove(&index).is_some();
        if existed {
            self.neighbours.retain(|&(link, _), _| link != index);
        }
        Moved { devices: existed, paths: existed, ..Moved::default() }
    }

    /// Addresses of an interface that we don't know are news from before it was removed.
    fn change_addresses(&mut self, index: u32, change: impl FnOnce(&mut Link)) -> Moved {
        let Some(link) = self.devices.links.get_mut(&index) else {
            return Moved::default();
        };
        let before = link.addresses.clone();
        change(link);
        Moved { devices: link.addresses != before, ..Moved::default() }
    }

    /// Whether this is a change of more than the neighbour's state.
    fn set_neighbour(&mut self, key: (u32, IpAddr), hardware: Option<Box<[u8]>>) -> bool {
        match hardware {
            None => self.neighbours.remove(&key).is_some(),
            Some(hardware) if self.neighbours.get(&key) == Some(&hardware) => false,
            Some(hardware) => {
                self.neighbours.insert(key, hardware);
                true
            }
        }
    }
}

fn differs_but_for_addresses(mut before: Link, now: &Link) -> bool {
    before.addresses.clone_from(&now.addresses);
    before != *now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::snapshot::{Address, DefaultRoute};

    const NOTHING: Moved = Moved { devices: false, paths: false, defaults: false };
    const DEVICES: Moved = Moved { devices: true, ..NOTHING };
    const PATHS: Moved = Moved { paths: true, ..NOTHING };
    const BOTH: Moved = Moved { devices: true, paths: true, ..NOTHING };

    fn eth0() -> Link {
        Link {
            index: 2,
            name: "eth0".to_owned(),
            is_ethernet: true,
            up: true,
            mtu: 1500,
            mac: Some([2, 0, 0, 0, 0, 1]),
            ..Link::default()
        }
    }

    fn address() -> Address {
        Address {
            ip: ip(),
            prefix_length: 24,
            peer: None,
            global: true,
            tentative: false,
            deprecated: false,
            secondary: false,
            created: 7,
        }
    }

    fn ip() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    fn neighbour(last_byte: Option<u8>) -> Message {
        Message::Neighbour(2, ip(), last_byte.map(|byte| Box::from([2, 0, 0, 0, 0, byte])))
    }

    /// A mirror that knows `eth0` with one address and one neighbour.
    fn mirror() -> Mirror {
        let mut mirror = Mirror::default();
        mirror.apply(Message::Link(eth0()));
        mirror.apply(Message::Address(2, address()));
        mirror.apply(neighbour(Some(9)));
        mirror
    }

    #[test]
    fn links_move_paths_when_they_lead_elsewhere_and_not_when_they_are_renamed() {
        let check = |link: Link, expected: Moved| {
            let mut mirror = mirror();
            assert_eq!(mirror.apply(Message::Link(link.clone())), expected, "{link:?}");
            assert_eq!(mirror.devices.links[&2].addresses, [address()], "addresses stay");
        };
        check(eth0(), NOTHING);
        check(Link { name: "wan0".to_owned(), ..eth0() }, DEVICES);
        check(Link { up: false, ..eth0() }, BOTH);
        check(Link { mtu: 9000, ..eth0() }, BOTH);
        check(Link { mac: Some([2, 0, 0, 0, 0, 2]), ..eth0() }, BOTH);
        check(Link { master: Some(5), ..eth0() }, BOTH);
    }

    #[test]
    fn a_new_link_moves_paths_once_it_is_up() {
        let mut mirror = mirror();
        let down = Link { index: 3, up: false, ..eth0() };
        assert_eq!(mirror.apply(Message::Link(down.clone())), DEVICES);
        assert_eq!(mirror.apply(Message::Link(Link { up: true, ..down })), BOTH);
    }

    #[test]
    fn a_removed_link_takes_its_neighbours_along() {
        let mut mirror = mirror();
        assert_eq!(mirror.apply(Message::LinkGone(2)), BOTH);
        assert_eq!(mirror.apply(Message::LinkGone(2)), NOTHING);
        assert_eq!(mirror.devices, Devices::default());
        assert_eq!(mirror.apply(neighbour(None)), NOTHING);
    }

    #[test]
    fn addresses_change_devices_only_if_they_are_new_or_differ() {
        let mut mirror = mirror();
        assert_eq!(mirror.apply(Message::Address(2, address())), NOTHING);
        let deprecated = Address { deprecated: true, ..address() };
        assert_eq!(mirror.apply(Message::Address(2, deprecated)), DEVICES);
        assert_eq!(mirror.apply(Message::AddressGone(2, address())), DEVICES);
        assert_eq!(mirror.apply(Message::AddressGone(2, address())), NOTHING);
        assert_eq!(mirror.apply(Message::Address(99, address())), NOTHING);
    }

    #[test]
    fn neighbours_move_paths_by_link_layer_address_appearance_and_loss_alone() {
        let mut mirror = mirror();
        assert_eq!(mirror.apply(neighbour(Some(9))), NOTHING, "a mere change of state");
        assert_eq!(mirror.apply(neighbour(Some(8))), PATHS, "another address");
        assert_eq!(mirror.apply(neighbour(None)), PATHS, "failed or deleted");
        assert_eq!(mirror.apply(neighbour(None)), NOTHING, "still not there");
        assert_eq!(mirror.apply(neighbour(Some(8))), PATHS, "appeared");
    }

    #[test]
    fn routes_move_paths() {
        assert_eq!(mirror().apply(Message::RouteChanged), PATHS);
        assert_eq!(mirror().apply(Message::Irrelevant), NOTHING);
    }

    #[test]
    fn default_routes_are_collected_and_asked_for_again_when_one_comes_or_goes() {
        let mut mirror = mirror();
        let route = DefaultRoute { ifindex: 2, is_ipv6: false };
        let asked = Moved { defaults: true, ..PATHS };
        assert_eq!(mirror.apply(Message::Default(vec![route])), asked);
        assert_eq!(mirror.devices.defaults, [route].into());
        assert_eq!(mirror.apply(Message::DefaultGone), asked);
        assert_eq!(mirror.devices.defaults, [route].into(), "which one is not said");
    }

    #[test]
    fn default_routes_that_may_have_gone_without_a_word_are_asked_for_again() {
        let mut with_default = mirror();
        with_default.apply(Message::Default(vec![DefaultRoute { ifindex: 2, is_ipv6: false }]));
        for message in [
            Message::Link(Link { up: false, ..eth0() }),
            Message::LinkGone(2),
            Message::AddressGone(2, address()),
            Message::NextHopChanged,
        ] {
            let asks = |mut mirror: Mirror| mirror.apply(message.clone()).defaults;
            let copy = Mirror { devices: with_default.devices.clone(), ..Mirror::default() };
            assert!(asks(copy), "{message:?}");
            assert!(!asks(mirror()), "{message:?}, and there is none");
        }
        let renamed = Message::Link(Link { name: "wan0".to_owned(), ..eth0() });
        assert!(!with_default.apply(renamed).defaults);
    }
}
