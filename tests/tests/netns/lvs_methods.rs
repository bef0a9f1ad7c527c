//! Who moves from LVS keeps what its clients and servers see: the words recorded of a balancer by IPVS are those of Fairway.

use std::fs;
use std::path::Path;

use fairway::playground::topology::Spec;
use fairway_ipvs::modes;

use crate::harness::{Fairway, lab, usual_config};
use crate::tunnels;

#[test]
fn clients_and_servers_cannot_tell_the_balancer_from_ipvs() {
    for (method, replies) in modes::METHODS {
        let lab = lab(&Spec { replies, ..Spec::default() });
        let all: Vec<usize> = (0..lab.spec().backends).collect();
        let mut config = usual_config(&lab, &all).replace(
            &format!("\"udp://10.2.0.100:{}\"", modes::UDP),
            &format!("\"udp://10.2.0.100:{}\", \"udp://10.2.0.100:{}\"", modes::UDP, modes::UNSERVED),
        );
        let mut unwrapping = Vec::new();
        if method == modes::TUNNEL {
            config = config.replace("[[service.backend]]\n", "[[service.backend]]\nforwarding = \"tunnel\"\n");
            unwrapping.extend(all.iter().map(|&index| lab.backend(index).run(tunnels::unwrap).expect("a thread")));
        }
        let fairway = Fairway::start_with(&lab, &config);
        fairway.wait_until_ready();

        let seen = modes::observe(&lab).unwrap_or_else(|error| panic!("{method}: {error:#}\n{}", fairway.fates()));

        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ipvs").join(modes::file(method));
        assert_eq!(seen, fs::read_to_string(file).expect("it was recorded"), "{method}");
    }
}
