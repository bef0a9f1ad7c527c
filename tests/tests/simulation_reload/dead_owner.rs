//! What an unsettled slot does for flows that nobody can serve any more: its previous owner is dead, or it has no owner.

use std::net::IpAddr;
use std::time::Duration;

use fairway::config;
use fairway::native::{NativePacket, NativeTables, process};
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::scheduler::seed::Seed;
use lb_common::path::Verdict;

use crate::frames::{self, ACK, End, SYN};

#[test]
fn an_unrecorded_flow_of_a_dead_previous_owner_goes_to_the_current_one() {
    let mut tables = drained("address = \"10.0.0.2\"");
    assert_eq!(send(&tables, ACK, 1), Some(1));
    kill(&mut tables, [10, 0, 0, 1]);
    assert_eq!(send(&tables, ACK, 2), Some(2));
    assert_eq!(send(&tables, ACK, 1), Some(2), "a record that names a dead backend counts as none");
    tables.flow_capacity = 0;
    assert_eq!(send(&tables, SYN, 3), Some(2), "nor is there a reason to send it what finds the table full");
}

#[test]
fn a_client_that_found_no_backend_finds_one_when_there_is_one() {
    let tables = drained("address = \"10.0.0.2\"\nweight = 0");
    assert_eq!(send(&tables, SYN, 1), None);
    assert!(tables.flows.borrow().is_empty(), "nothing to remember");
    assert_eq!(send(&tables, ACK, 2), Some(1));
}

/// Tables of a service whose only backend, 10.0.0.1, was replaced a moment ago.
fn drained(other: &str) -> NativeTables {
    let mut planner = Planner::new(Seed::from_text("dead"), 64, 64);
    let mut tables = NativeTables::new(Image::new(64, 64), 10);
    for backend in ["address = \"10.0.0.1\"", other] {
        let file = format!(
            "dataplane.interfaces = [\"eth0\"]\n[[service]]\nname = \"a\"\nlisten = [\"tcp://192.0.2.1:80\"]\n\
             lookup_table_size = 32\n[[service.backend]]\n{backend}\n"
        );
        let config = config::parse(&file, "host").expect("a valid file").0;
        for last in [1, 2] {
            let mac = Mac([2, 0, 0, 0, 0, last]);
            let frame = Frame {
                interface: 2,
                source_mac: mac,
                destination_mac: mac,
                tags: Vec::new(),
                mtu: 1500,
                source: None,
            };
            planner.next_hop(&tables.image, [10, 0, 0, last].into(), Ok(NextHop::Frame(frame)));
        }
        let plan = planner.configure(Duration::from_secs(1000), &tables.image, &config).expect("it fits");
        plan.writes.iter().for_each(|write| tables.image.apply(write));
    }
    tables
}

fn kill(tables: &mut NativeTables, address: [u8; 4]) {
    let dead = IpAddr::from(address).into();
    tables.image.rows.iter_mut().filter(|row| row.address == dead).for_each(|row| row.state = 0);
}

/// The last octet of the server that gets a packet of a flow.
fn send(tables: &NativeTables, flags: u8, port: u16) -> Option<u8> {
    let (from, to) = (End { address: [198, 18, 0, 1].into(), port }, End { address: [192, 0, 2, 1].into(), port: 80 });
    let mut packet = NativePacket::new(&frames::frame(from, to, Some(flags)), 1);
    match process(&mut packet, tables) {
        Verdict::Redirect(2) => Some(frames::destination_mac(packet.frame())[5]),
        _ => None,
    }
}
