//! The packet path, packet by packet, in both homes: natively and in the kernel by test runs, from the same cases.

mod access;
mod agreement;
mod awaited;
mod build;
mod check;
mod clients;
mod cuts;
mod direct;
mod fragments;
mod ipvs;
mod kernel;
mod mastership;
mod million;
mod nat;
mod options;
mod own_client;
mod probes;
mod quic;
mod quotes;
mod random;
mod ranges;
mod records;
mod sctp;
mod secured;
mod signs;
mod state;
mod stateful;
mod tags;
mod told;
mod torn;
mod translations;
mod tunnel;
mod tunnel_ways;
mod world;

/// Fewer cases than this mean that some were lost.
const CASES: usize = 1300;

#[test]
fn there_are_as_many_cases_as_there_should_be() {
    let subjects = [
        ("access", access::cases()),
        ("awaited", awaited::cases()),
        ("clients", clients::cases()),
        ("cuts", cuts::cases()),
        ("direct", direct::cases()),
        ("fragments", fragments::cases()),
        ("mastership", mastership::cases()),
        ("nat", nat::cases()),
        ("options", options::cases()),
        ("own_client", own_client::cases()),
        ("probes", probes::cases()),
        ("quic", quic::cases()),
        ("quotes", quotes::cases()),
        ("ranges", ranges::cases()),
        ("records", records::cases()),
        ("sctp", sctp::cases()),
        ("secured", secured::cases()),
        ("signs", signs::cases()),
        ("stateful", stateful::cases()),
        ("tags", tags::cases()),
        ("translations", translations::cases()),
        ("tunnel", tunnel::cases()),
    ];
    let packets: usize = subjects.iter().flat_map(|(_, cases)| cases).map(check::Case::packets).sum();
    let counts = subjects.map(|(name, cases)| (name, cases.len()));
    println!("{packets} packets in cases of {counts:?}");
    assert!(counts.iter().map(|(_, count)| count).sum::<usize>() >= CASES, "{counts:?}");
}

/// The verifier gives up at a million; what newer kernels take more steps for must still fit.
const MOST_VERIFIED_INSTRUCTIONS: u32 = 600_000;

#[test]
fn the_verifier_has_room_to_spare() {
    let walked = kernel::shared().verified_instructions();
    println!("the verifier walked {walked} instructions");
    assert!(walked < MOST_VERIFIED_INSTRUCTIONS, "{walked}");
}
