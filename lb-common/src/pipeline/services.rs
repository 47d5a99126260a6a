//! What the pipeline asks of the tables that say which frontend leads to which backend. They are read when
//! a flow begins; what packets of a flow need is not here.

use crate::{
    addr::Port,
    packet::Settled,
    tables::{
        AffinityKey, AffinityRule, BackendRef, Endpoint, EndpointKey, Frontend, FrontendKey, Load,
        Remembered, Selection, SelectionKind,
    },
};

/// The tables of Services, as one family sees them.
pub trait ServiceTables<A> {
    /// Where a frontend leads.
    fn frontend(&self, key: &FrontendKey<A>) -> Option<Frontend>;
    /// Whether a service that has source ranges admits a client.
    fn admits(&self, service: u32, client: A) -> bool;
    /// A service's selection and session affinity; empty, and none, if there is no such service.
    fn service(&self, service: u32, kind: SelectionKind) -> (Selection, AffinityRule);
    /// A slot of the selection tables.
    fn slot(&self, index: u32) -> Option<BackendRef>;
    /// Address and port of a backend, if the generation is still the one meant.
    fn backend(&self, backend: BackendRef) -> Option<(A, Port)>;

    /// How busy a backend is.
    fn load(&self, backend: u32) -> Load;
    /// Counts one more open flow of a backend, or one less, but none less than 0.
    fn count_open(&self, backend: u32, more: bool);
    /// Whose turn it is in a service's selection.
    fn turn(&self, service: u32, kind: u32) -> u32;
    /// Says whose turn it is.
    fn set_turn(&self, service: u32, kind: u32, turn: u32);
    /// Gives back what it is given, in the kernel through memory of which the verifier knows nothing; see
    /// [`Packet::settle`](crate::packet::Packet::settle).
    #[inline(always)]
    fn settle(&self, words: Settled) -> Settled {
        words
    }

    /// What is remembered of a client.
    fn remembered(&self, key: &AffinityKey<A>) -> Option<Remembered>;
    /// Remembers a client's endpoint.
    fn remember(&self, key: &AffinityKey<A>, remembered: Remembered);
    /// The backend of a service with affinity at an endpoint.
    fn endpoint(&self, key: EndpointKey) -> Option<Endpoint>;

    /// Whether an address may be a Service's: true for all that are, and for few others.
    fn may_be_owned(&self, address: A) -> bool;
    /// Whether an address is of the range of cluster IPs.
    fn is_in_service_range(&self, address: A) -> bool;
    /// The number of an address's [`AddressOwner`](crate::tables::AddressOwner), 0 if it has none.
    fn owner(&self, address: A) -> u32;
}
