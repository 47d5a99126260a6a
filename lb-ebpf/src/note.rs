//! The words in a packet's context that stages pass on.

/// What stages note for later ones, and in which word of the context (`cb`).
#[derive(Clone, Copy)]
pub enum Note {
    /// The hook's number.
    Hook = 0,
    /// The drop's number, or a verdict's; within a stage, see `Packet::settle`.
    Reason = 1,
    /// How long the packet might have been; of SCTP that was translated, what is to be amended in its
    /// checksum, or 0.
    Mtu = 2,
    /// Where SCTP begins and how long it is; within a stage, see `Packet::settle`.
    Second = 3,
    /// A verdict's interface; within a stage, see `Packet::settle`.
    Third = 4,
}

impl Note {
    /// Where the link-layer addresses wait of a packet that has no link header yet, while nothing else does.
    pub const MACS: [Self; 3] = [Self::Hook, Self::Reason, Self::Third];
}
