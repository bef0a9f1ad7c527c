//! A backend that gets another MAC address is served by it at once.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use fairway::playground::topology::{Replies, Spec, balancer_v4, balancer_v6};

use crate::harness::{Bed, HTTP, await_that, fetch, ip, lab, service_v4, service_v6, usual_config};

/// The promise is a tenth of a second; a busy machine gets ten times as long.
const AT_MOST: Duration = Duration::from_secs(1);

const MAC: &str = "02:00:00:00:03:04";

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn a_new_mac_address_of_a_backend_reaches_the_tables() {
    let lab = lab(&Spec { backends: 1, replies: Replies::Direct, ..Spec::default() });
    let bed = Bed::in_lab(lab, |lab| usual_config(lab, &[0]));
    let services = [service_v4(HTTP), service_v6(HTTP)];
    for service in services {
        assert_eq!(fetch(&bed.lab.client(), service, "/", None).expect("it serves"), b"b1\n");
    }

    ip(&bed.lab.backend(0), &format!("link set eth0 address {MAC}\nneighbour flush dev eth0\n"));
    // What the backend says to the balancer it says after asking who that is, and so tells its own address.
    speak(&bed, SocketAddr::new(balancer_v4(0).into(), 9));
    speak(&bed, SocketAddr::new(balancer_v6(0).into(), 9));
    let start = Instant::now();
    await_that("the new address is in the tables", || {
        bed.fairway.show("neighbours").to_string().matches(MAC).count() == 2
    });
    let took = start.elapsed();

    println!("the new MAC address was in the tables after at most {took:.1?}");
    assert!(took < AT_MOST, "it took {took:.1?}");
    for service in services {
        assert_eq!(fetch(&bed.lab.client(), service, "/", None).expect("it serves"), b"b1\n");
    }
}

fn speak(bed: &Bed, to: SocketAddr) {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let send = || UdpSocket::bind(any)?.send_to(b"here I am", to);
    bed.lab.backend(0).run(send).expect("the namespace is there").expect("the balancer is on the link");
}
