//! Sockets, and the tables of those that were translated, in ordinary memory.

use super::{HostFamily, HostTables};
use crate::{
    socket::{Socket, SocketTables},
    tables::{Cookie, SocketKey, Talk, Translated},
};

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSocket {
    /// Its number.
    pub cookie: u64,
    /// The number of its network namespace.
    pub namespace: u64,
    /// Whether that is the node's own.
    pub is_of_node: bool,
    /// Whether sockets of other namespaces are left alone.
    pub host_only: bool,
    /// The random number that it draws.
    pub random: u32,
}

impl Socket for HostSocket {
    fn cookie(&self) -> Cookie {
        Cookie::new(self.cookie)
    }

    fn namespace(&self) -> u64 {
        self.namespace
    }

    fn is_of_node(&self) -> bool {
        self.is_of_node
    }

    fn is_served(&self) -> bool {
        self.is_of_node || !self.host_only
    }

    fn random(&self) -> u32 {
        self.random
    }
}

impl<A: HostFamily> SocketTables<A> for HostTables {
    fn translated(&self, key: &SocketKey<A>) -> Option<Translated<A>> {
        self.looked_up();
        A::state(self).translated.borrow().get(key).copied()
    }

    fn set_translated(&self, key: &SocketKey<A>, translated: &Translated<A>) {
        A::state(self).translated.borrow_mut().insert(*key, *translated);
    }

    fn forget_translated(&self, key: &SocketKey<A>) {
        self.looked_up();
        A::state(self).translated.borrow_mut().remove(key);
    }

    fn talk(&self, key: &SocketKey<A>) -> Option<Talk<A>> {
        self.looked_up();
        A::state(self).talks.borrow().get(key).copied()
    }

    fn set_talk(&self, key: &SocketKey<A>, talk: &Talk<A>) {
        A::state(self).talks.borrow_mut().insert(*key, *talk);
    }

    fn forget_talk(&self, key: &SocketKey<A>) {
        A::state(self).talks.borrow_mut().remove(key);
    }
}
