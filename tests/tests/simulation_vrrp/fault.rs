//! Faults put in on purpose, to see that the judge would notice.

/// What is broken on purpose. None of it is in the engine: its effects, events and settings are tampered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Addresses stay when mastership goes.
    KeepAddresses,
    /// A gratuitous ARP that was queued goes out after mastership was lost.
    AnnounceLate,
    /// Only the first announcement of a master goes out.
    AnnounceOnce,
    /// Advertisements of better masters are not heard by a master.
    IgnoreBetterMasters,
    /// While the peer is silent, its advertisements are not heard either: the peer link alone decides.
    SkipPeerWait,
    /// Priority 0 goes out and the addresses go with it.
    BreakBeforeMake,
    /// The live word is cleared together with the addresses.
    LiveWordGoesAtOnce,
    /// The live word is never cleared.
    LiveWordStays,
    /// Stalls are not noticed.
    IgnoreStalls,
    /// A node that stepped down preempts at once.
    HoldNothing,
    /// Higher priorities do not preempt.
    NeverPreempt,
    /// A master advertises once only.
    FallSilent,
}
