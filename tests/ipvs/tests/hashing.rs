//! Where hashing a flow is done another way than in IPVS, on purpose: what that is good for, shown on the scripts recorded for sh
//! and mh. 512 clients come to eight equal backends; again when `c` has been removed; and again when `d` has no weight.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use fairway::scheduler::maglev::{self, Member};
use fairway::scheduler::seed::Seed;
use fairway_ipvs::script::{Script, Step};
use lb_common::hash;
use lb_common::packet::transport::ports_wire;

/// `lookup_table_size` unless configured.
const TABLE_SIZE: u32 = 16_384;

/// Who had each client, in the three states of the pool.
type States = [Vec<String>; 3];

#[test]
fn ipvs_deals_sh_out_anew_and_a_lookup_table_does_not() {
    let (ipvs, here) = (recorded("sh-sources"), hashed(&[0; 512]));
    assert_eq!(moved_besides("c", &ipvs[0], &ipvs[1]), 370);
    let moved = moved_besides("c", &here[0], &here[1]);
    assert!(moved < 15, "{moved} of 512 moved that were not of the backend removed");
}

#[test]
fn ipvs_refuses_the_clients_of_a_backend_without_weight_and_here_others_have_them() {
    for name in ["sh-sources", "sh-port-sources", "mh-sources", "mh-port-sources"] {
        assert!(recorded(name)[2].iter().any(|backend| backend == "none"), "{name}");
    }
    let here = hashed(&[0; 512]);
    assert!(here[2].iter().all(|backend| !["none", "c", "d"].contains(&backend.as_str())));
    let moved = moved_besides("d", &here[1], &here[2]);
    assert!(moved < 15, "{moved} of 512 moved that were not of the backend drained");
}

#[test]
fn shares_are_as_even_as_those_of_ipvs() {
    let ports: Vec<u16> = (10_001..=10_512).collect();
    for (name, ports) in [("mh-sources", [0; 512].as_slice()), ("mh-port-sources", &ports)] {
        let (ipvs, here) = (spread(&recorded(name)[0]), spread(&hashed(ports)[0]));
        // 512 clients drawn at random: 64 each, with a standard deviation of 7.5.
        assert!(here < ipvs + 15, "{name}: {ipvs} clients between most and fewest under IPVS, {here} here");
    }
}

/// Of those that another than `gone` had, how many another has now.
fn moved_besides(gone: &str, before: &[String], after: &[String]) -> usize {
    before.iter().zip(after).filter(|(before, after)| *before != gone && before != after).count()
}

/// Clients between the backend with most and that with fewest.
fn spread(backends: &[String]) -> usize {
    let mut counts = BTreeMap::new();
    backends.iter().for_each(|backend| *counts.entry(backend).or_insert(0) += 1);
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
}

/// What IPVS did.
fn recorded(name: &str) -> States {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../data/ipvs/{name}.txt"));
    let script = Script::parse(&fs::read_to_string(file).expect("it is there")).expect("it is a script");
    let states: Vec<Vec<String>> = script
        .steps()
        .filter(|(_, step, _)| matches!(step, Step::Open(_)))
        .map(|(_, _, answer)| answer.to_vec())
        .collect();
    states.try_into().expect("the clients come three times")
}

/// What lookup tables give, for clients from 10.1.0.0 on with these ports.
fn hashed(ports: &[u16]) -> States {
    [&[][..], &["c"], &["c", "d"]].map(|gone| {
        let gone: BTreeSet<&str> = gone.iter().copied().collect();
        let names: Vec<String> = ('a'..='h').map(String::from).collect();
        let members: Vec<Member> = (0..)
            .zip(&names)
            .map(|(index, name)| Member {
                identity: name,
                index,
                weight: if gone.contains(name.as_str()) { 0 } else { 8 },
            })
            .collect();
        let owners = maglev::table(&members, TABLE_SIZE, &Seed::from_text("fairway"));
        let owner = |client: u32, port: u16| {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 0)) + client);
            let hash = hash::flow(7, address.into(), ports_wire(port.to_be(), 0));
            owners[(hash >> (u64::BITS - TABLE_SIZE.ilog2())) as usize]
        };
        (0..).zip(ports).map(|(client, port)| names[usize::from(owner(client, *port))].clone()).collect()
    })
}
