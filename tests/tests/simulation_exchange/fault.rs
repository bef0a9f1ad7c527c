//! What can be broken on purpose, to see that it is noticed.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// The follower keeps what a bulk did not mention.
    KeepAll,
    /// The network takes an item out of a message.
    LoseItem,
    /// The follower ignores that an item is gone.
    IgnoreGone,
    /// A claim and what follows it arrive with an epoch above all others.
    RaiseEpochs,
    /// All of a realm is gathered as it was a moment ago.
    GatherEarly,
}
