//! Why a packet was passed to the host or dropped: one counter a reason.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident => $fate:ident, $name:literal;)*) => {
        /// Why a packet was not forwarded. The one table from reasons to fates.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason of a counter.
            #[inline(always)]
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.get(number as usize).copied()
            }

            /// The name in metrics and output.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What becomes of the packet.
            #[inline(always)]
            pub const fn fate(self) -> Fate {
                match self { $(Self::$variant => Fate::$fate,)* }
            }
        }
    };
}

/// Where, among the counters of reasons, records that could not be made are counted: behind every reason there will be.
pub const REFUSALS: u32 = 63;
/// The same for flows of stateful services that could not be recorded.
pub const UNRECORDED: u32 = 62;

/// What becomes of a packet that is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The host's stack gets it, untouched.
    Pass,
    /// It is gone.
    Drop,
}

// Their order is an ABI, of counters and of the trace's lines: new ones come last.
reasons! {
    /// Neither IPv4 nor IPv6: ARP, LLDP, …
    NotIp => Pass, "not-ip";
    /// Not addressed to a service.
    NotService => Pass, "not-a-service";
    /// The Ethernet or IP header is cut short or malformed: the host's to judge.
    Malformed => Pass, "malformed";
    /// More VLAN tags or extension headers than are read.
    TooDeep => Pass, "too-deep";
    /// The backend chosen is this host.
    LocalBackend => Pass, "local-backend";
    /// The service has no backend and leaves the packet to the host, which resets if it owns the address.
    NoBackendPassed => Pass, "no-backend";
    /// A reply from a translated backend that is left alone: to this host, to where it has no route, or to an excluded
    /// destination.
    NotTranslated => Pass, "not-translated";
    /// A reply larger than the route to the client takes, which may not be fragmented: the host tells the backend so.
    TooBigForRoute => Pass, "too-big";
    /// A fragment of a datagram for the host.
    HostFragment => Pass, "host-fragment";
    /// The service has no backend.
    NoBackend => Drop, "no-backend";
    /// Addressed to a service, cut short inside the transport header.
    Truncated => Drop, "truncated";
    /// Addressed to a service, with extension headers that cannot be read to their end.
    Unreadable => Drop, "unreadable";
    /// A later fragment to a service's address whose first fragment was not seen, or was forgotten.
    UnknownFragment => Drop, "unknown-fragment";
    /// The time to live, or hop limit, is used up.
    TimeToLive => Drop, "time-to-live";
    /// The next hop of the backend is not known.
    NextHopUnknown => Drop, "next-hop-unknown";
    /// An ICMP error that quotes a flow, too short to tell which.
    QuoteTruncated => Drop, "quote-truncated";
    /// A reply for which the host's route is a black hole, unreachable or prohibited.
    NoRoute => Drop, "no-route";
    /// A reply, but the host does not forward on this interface (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
    ForwardingDisabled => Drop, "forwarding-disabled";
    /// A reply larger than the route to the client takes, which may be fragmented: nobody would translate the pieces.
    TooBig => Drop, "too-big";
    /// A reply waits for its neighbour in user space; it is sent from there.
    NeighbourPending => Drop, "neighbour-pending";
    /// A reply whose neighbour is unknown, and no room to hand it to user space.
    NeighbourUnresolved => Drop, "neighbour-unresolved";
    /// The frame could not be resized for its VLAN tags.
    NoHeadroom => Drop, "no-headroom";
    /// A table had no entry where one must be: a bug or a half-written table.
    Inconsistent => Drop, "inconsistent-table";
    /// The service follows a virtual router that this node is not live for.
    NotMaster => Pass, "not-master";
    /// An answer to one of our probes: the host gets it, by the device that the probe was sent by, its source rewritten.
    ProbeAnswer => Pass, "probe-answer";
    /// A new flow whose translation must be recorded, and the table is full.
    TranslationsFull => Drop, "translations-full";
    /// A new flow that must get a source of its own, and none of those tried was free.
    NoSourcePort => Drop, "no-source-port";
    /// A packet that does not fit into its backend's tunnel, once it is wrapped, and is not answered: a later fragment, an ICMP
    /// message, or one of too many at a time.
    TooBigForTunnel => Drop, "too-big-for-tunnel";
    /// The same, and its sender was told how much fits.
    TooBigAnswered => Drop, "too-big-answered";
    /// The service's `allow` and `deny` do not let this client in.
    Denied => Drop, "denied";
    /// A new connection of a client that has begun as many as its service's `rate_limit` lets it.
    ClientRate => Drop, "client-rate";
    /// A new connection to a service to which as many have begun as its `rate_limit` lets in.
    ServiceRate => Drop, "service-rate";
    /// A packet of a connection that began before this node became master, of which the record may still be on its way from the node
    /// that was: without it, it would go to a backend that does not know it. TCP sends it again.
    RecordAwaited => Drop, "record-awaited";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_index_of_its_counter() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn names_are_unique_within_a_fate() {
        for (i, a) in Reason::ALL.iter().enumerate() {
            for b in &Reason::ALL[i + 1..] {
                assert!(a.fate() != b.fate() || a.name() != b.name(), "{}", a.name());
            }
        }
    }
}
