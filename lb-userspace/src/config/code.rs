//! The stable codes of configuration problems. A code is never reused for something else, so that a search for it
//! finds the right page. FW00xx: one value by itself; FW01xx: values that do not go together; FW02xx: warnings.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($name:ident = $text:literal, $about:literal;)*) => {
        /// What is wrong, as a stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $about] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as it is printed: `FW0001`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }

            /// One sentence about the problem.
            pub fn about(self) -> &'static str {
                match self {
                    $(Code::$name => $about,)*
                }
            }
        }
    };
}

codes! {
    Syntax = "FW0001", "The file is not TOML.";
    UnknownKey = "FW0002", "A key Fairway does not know.";
    WrongType = "FW0003", "A value of another type than the key's.";
    MissingKey = "FW0004", "A required key is missing.";
    BadValue = "FW0005", "A value that cannot be read as what the key holds.";
    OutOfRange = "FW0006", "A number, size or duration outside its range.";
    NotYet = "FW0007", "A key or value whose feature is not in this version.";
    UnknownChoice = "FW0008", "None of the words this key may hold.";
    BadName = "FW0009", "A name that is empty, too long or not printable.";
    UnusableAddress = "FW0010", "An address no packet can be forwarded for or to.";
    NoInterfaces = "FW0101", "There are services but no interfaces to receive their packets on.";
    DuplicateInterface = "FW0102", "An interface is listed twice.";
    DuplicateService = "FW0103", "Two services have the same name.";
    DuplicateBackendName = "FW0104", "Two backends of a service have the same name.";
    DuplicateListener = "FW0105", "Two listeners have the same protocol, address and port.";
    FamilyMismatch = "FW0106", "IPv4 and IPv6 are mixed within a service.";
    PortWithoutNat = "FW0107", "A backend has a port although its forwarding method cannot change ports.";
    PortUnderWildcard = "FW0108", "A nat backend has a port although a listener takes several ports.";
    BackendIsListener = "FW0110", "The address of a nat backend is the address of a service.";
    MoreBackendsThanSlots = "FW0111", "A lookup table has fewer slots than backends.";
    TooManyListeners = "FW0112", "More listeners than the tables hold.";
    TooManyBackends = "FW0113", "More backends in one service than the tables hold.";
    TooManyRows = "FW0114", "More pairs of listener and backend than the tables hold.";
    DuplicateBackend = "FW0115", "A server is listed twice in a service.";
    NoListeners = "FW0116", "A service listens on nothing.";
    DuplicateRouter = "FW0117", "Two virtual routers have the same name.";
    DuplicateVrid = "FW0118", "Two virtual routers have the same interface, family and virtual router identifier.";
    MixedFamilies = "FW0119", "IPv4 and IPv6 are mixed within a virtual router, or within one of its routes or rules.";
    WrongForVersion = "FW0120", "A setting that the virtual router's version of VRRP cannot express.";
    DuplicateAddress = "FW0121", "An address is listed twice, or held by two virtual routers.";
    EmptyList = "FW0122", "A list of addresses, or a command, is empty.";
    TooMany = "FW0123", "More of something than the protocol or Fairway takes.";
    ForeignTrackKey = "FW0124", "A track has a key of another type of track.";
    TrackConsequence = "FW0125", "A track has both `weight` and `fault`.";
    DuplicateTrack = "FW0126", "Two tracks of a virtual router have the same name.";
    UnknownName = "FW0127", "A name that nothing in the file has.";
    ServiceAddressNotHeld = "FW0128", "A service listens on an address that the virtual router it follows does not hold.";
    OwnAddress = "FW0129", "A peer's address is one of this node's or moves between the nodes.";
    EmptyRule = "FW0130", "A policy rule has neither `from` nor `to`.";
    BadProgram = "FW0131", "The program of a command is no absolute path.";
    ForeignCheckKey = "FW0132", "A check has a key of another type of check.";
    ExpectTwice = "FW0133", "A check has both `expect` and `expect_regex`.";
    CheckWithoutPort = "FW0134", "It is not known which port a check asks.";
    QuorumTooLarge = "FW0135", "A service needs more backends for its quorum than it has.";
    PersistenceByHash = "FW0136", "Persistence beside a scheduler that it cannot go with.";
    LowerAboveUpper = "FW0137", "A lower threshold that is not below the upper one.";
    NoSource = "FW0140", "A backend of full NAT, and no source address of its family.";
    SourceIsListener = "FW0141", "A source address of full NAT is the address of a service.";
    DuplicatePrefix = "FW0142", "A network is listed twice among those that may come to a service or not.";
    EmptyLimit = "FW0143", "A rate limit without a rate.";
    LimitWithoutFlows = "FW0144", "A limit of new connections where nothing tells which are new.";
    NotTranslated = "FW0145", "A listener of a protocol that cannot be translated, and a backend under nat.";
    PartedFromIke = "FW0146", "A listener of ESP or AH where the packets of one client may go to several backends.";
    OverlappingPorts = "FW0147", "Two listeners of one address and protocol have ports in common.";
    TooManyRanges = "FW0148", "More ranges of ports of one address and protocol than the tables hold.";
    OwnPair = "FW0149", "An interface of the configuration is one that Fairway makes itself.";
    OwnRouting = "FW0150", "A route or rule of a virtual router in the place that `own_client` needs.";
    QuicByRule = "FW0165", "Connection IDs beside a scheduler that records flows.";
    NoServerId = "FW0166", "A backend without server ID in a service that goes by connection IDs.";
    DuplicateServerId = "FW0167", "Two backends of a service have the same server ID.";
    ServerIdLength = "FW0168", "Server IDs of a service differ in length.";
    FewSlots = "FW0201", "So few slots a backend that the shares become uneven.";
    NoBackends = "FW0202", "A service has no backends.";
    AllWeightsZero = "FW0203", "Every backend of a service has weight 0.";
    AdminExposed = "FW0204", "The status page and the metrics can be read from the network without authentication.";
    NoEffect = "FW0205", "A key that has no effect beside the others.";
    PrefixLength = "FW0206", "A virtual address has a network's prefix length.";
    ShortInterval = "FW0207", "A short stall of this node or its peer is taken for its death.";
    LongSkew = "FW0208", "After a graceful hand-over a backup waits longer than clients should notice.";
    AddressOwner = "FW0209", "Priority 255 is for the node whose interface has the virtual addresses as its own.";
    DoesNotFollow = "FW0210", "A service does not follow the virtual router that holds its address.";
    DefaultSeed = "FW0211", "Services on several nodes hash with the seed that everybody has.";
    RunsAsRoot = "FW0212", "A program is run as root.";
    NoUnicastSource = "FW0213", "Unicast peers expect one source address, and none is set.";
    RaisingWeight = "FW0214", "A track raises the priority when its condition fails.";
    SuspectAddresses = "FW0215", "An IPv6 virtual router whose addresses other implementations may refuse.";
    TimeoutOverInterval = "FW0216", "A probe may take longer than the time until the next one.";
    Superseded = "FW0217", "A service was added at run time, and the file has one of its name.";
    SourceDoesNotFollow = "FW0218", "A full-nat service follows a virtual router, and its source addresses do not.";
    ClientOfNothing = "FW0219", "This host is to be a client of its services, and there are none.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
