//! What the pipeline asks of the tables. BPF maps implement it in lb-ebpf, ordinary memory in
//! [`host`](crate::host).

use super::{FlowRef, ServiceTables};
use crate::{
    addr::{Ipv4, Ipv6},
    hash,
    tables::{
        Device, Draft, Egress, Flow, FlowKey, FragmentKey, Fragmented, Held, HeldKey, Sample,
        SnatPorts,
    },
};

/// The tables that don't depend on the family.
pub trait Tables: FamilyTables<Ipv4> + FamilyTables<Ipv6> {
    /// Whether some frontend has this port.
    fn has_frontend_port(&self, port: crate::addr::Port) -> bool;
    /// Whether some backend has this port.
    fn has_backend_port(&self, port: crate::addr::Port) -> bool;
    /// The ports for SNAT.
    fn snat_ports(&self) -> SnatPorts;
    /// The ports that replies to SNAT may have.
    fn reply_ports(&self) -> SnatPorts;
    /// The current epoch of egresses.
    fn epoch(&self) -> u32;
    /// Whether flows without a handshake may move to the table that evicts nothing.
    fn graduates_udp(&self) -> bool;
    /// The secret of the boot.
    fn hash_key(&self) -> hash::Key;
    /// Jiffies after which a packet renews its flow's age.
    fn touch_interval(&self) -> u32;
    /// Jiffies in a second.
    fn hz(&self) -> u32;
    /// The generation in a backend's line; 0: there is none.
    fn backend_generation(&self, id: u32) -> u32;
    /// What is known of an interface.
    fn device(&self, ifindex: u32) -> Option<Device>;
    /// What stands in a place of [`Neighbour`](crate::tables::Neighbour)s.
    fn neighbour(&self, slot: u32) -> u64;
    /// Writes there.
    fn set_neighbour(&self, slot: u32, word: u64);
    /// Whether one more sender may be answered, at this price.
    fn may_answer(&self, now: u32, price: u32) -> bool;
    /// Adds one to a counter.
    fn count(&self, counter: u32);
    /// Counts a translated packet to or from a backend, and its length.
    fn count_packet(&self, backend: u32, bytes: u32);
    /// Counts a flow that was begun with a backend.
    fn count_flow(&self, backend: u32);
    /// Counts that another backend was tried instead of this one.
    fn count_unanswered(&self, backend: u32);
    /// Room for a fragment that is to be held, this CPU's own.
    fn room(&self) -> Option<core::ptr::NonNull<Held>>;
    /// Holds a fragment; false if there is one in its place.
    fn hold(&self, key: &HeldKey, held: &Held) -> bool;
    /// The fragment that is held there.
    fn held(&self, key: &HeldKey) -> Option<core::ptr::NonNull<Held>>;
    /// Lets it go; false if it is not there any more.
    fn release(&self, key: &HeldKey) -> bool;
    /// Whether it is to be told of this packet, of which there is something to tell.
    fn tells(&self) -> bool;
    /// Room for what is told, this CPU's own, with the time in it.
    fn sample(&self) -> Option<core::ptr::NonNull<Sample>>;
    /// Tells it.
    fn tell(&self, sample: &Sample);
}

/// How a claim on a flow's key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The entry is ours.
    Claimed,
    /// There was an entry.
    Taken,
    /// The table took no entry.
    Full,
}

/// What the kernel's routing table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Out of an interface, neighbour known: all of the egress is set but its MTU and epoch.
    Via,
    /// Out of an interface, neighbour not known: only the egress's interface is set.
    Unresolved,
    /// To this node itself.
    Local,
    /// Forwarding is off on the interface that the packet came in on.
    ForwardingOff,
    /// Nowhere.
    None,
}

/// A question to the kernel's routing table.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<A> {
    /// The interface that the packet came in on.
    pub ifindex: u32,
    /// Source: the client's for a flow that begins, because the node's own depends on the answer; for
    /// one that goes on, the one after translation.
    pub source: A,
    /// Destination after translation.
    pub destination: A,
}

/// The tables of one family. The flow table stands behind this small interface because its inside
/// will change; today it has two generations, see ARCHITECTURE.md.
pub trait FamilyTables<A>: ServiceTables<A> {
    /// The flow with this key, of either generation; the one that evicts nothing first.
    fn find(&self, key: &FlowKey<A>) -> Option<FlowRef<A>>;
    /// The same of the generation that evicts nothing only.
    fn find_established(&self, key: &FlowKey<A>) -> Option<FlowRef<A>>;
    /// Room for a flow that is being begun, this CPU's own: nothing else refers to it while a
    /// packet is processed.
    fn draft(&self) -> Option<core::ptr::NonNull<Draft<A>>>;
    /// What the first fragment of a packet said.
    fn fragmented(&self, key: &FragmentKey<A>) -> Option<Fragmented>;
    /// Notes what the first fragment of a packet said.
    fn set_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented);
    /// The same if nothing is noted; false if something is.
    fn claim_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) -> bool;
    /// Enters a new flow if neither generation has the key.
    fn claim(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Claim;
    /// Enters a flow into the generation that evicts nothing; false if that one is full.
    fn establish(&self, key: &FlowKey<A>, flow: FlowRef<A>) -> bool;
    /// Removes a flow from the first generation.
    fn remove_new(&self, key: &FlowKey<A>);
    /// Removes a flow from both.
    fn remove(&self, key: &FlowKey<A>);
    /// Whether a socket of this node would take a packet with this key's addresses and ports.
    fn has_socket(&self, key: &FlowKey<A>) -> bool;
    /// Asks the kernel's routing table.
    fn route(&self, query: &RouteQuery<A>, egress: &mut Egress) -> Route;
}
