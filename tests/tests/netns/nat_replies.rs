//! Replies of translated backends: they find a client whose neighbour entry is missing, are left alone where the
//! configuration says so, and when the host does not forward, Fairway says that this is what is wrong.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fairway::playground::topology::{Replies, Spec, backend_v4, backend_v6};

use crate::harness::{Bed, HTTP, fetch, ip, lab, service_v4, service_v6, usual_config};

/// The fifth backend's namespace serves nothing: it is a client on the balancer's own link.
const ON_LINK_CLIENT: usize = 4;

#[test]
fn a_reply_to_a_client_whose_neighbour_entry_is_missing_is_sent_all_the_same() {
    let bed = bed_with_a_client_on_the_link("");

    for (service, address) in [(service_v4(HTTP), "10.2.0.25"), (service_v6(HTTP), "fd02::25")] {
        ip(&bed.lab.balancer(0), &format!("neighbour flush to {address}"));
        let before = bed.fairway.packets("drops", "neighbour-pending");
        let answer = fetch(&bed.lab.backend(ON_LINK_CLIENT), service, "/", None).expect("the first reply is sent too");
        assert!(answer.starts_with(b"b"));
        let pending = bed.fairway.packets("drops", "neighbour-pending");
        assert!(pending > before, "no reply to {address} went through user space, so nothing was tested");

        fetch(&bed.lab.backend(ON_LINK_CLIENT), service, "/", None).expect("it works again");
        assert_eq!(bed.fairway.packets("drops", "neighbour-pending"), pending, "the entry is known now");
    }
}

#[test]
fn replies_to_excluded_destinations_keep_their_source() {
    let bed = bed_with_a_client_on_the_link("nat_exclude = [\"10.2.0.25/32\", \"fd02::25/128\"]\n");
    for backend in [SocketAddr::new(backend_v4(1).into(), HTTP), SocketAddr::new(backend_v6(1).into(), HTTP)] {
        let before = bed.fairway.packets("passes", "not-translated");
        let answer = fetch(&bed.lab.backend(ON_LINK_CLIENT), backend, "/", None).expect("the backend itself answers");
        assert_eq!(answer, b"b2\n");
        assert!(bed.fairway.packets("passes", "not-translated") > before, "the reply did not pass the balancer");
    }

    // The same without the exclusion: an answer from the service is none to who asked the backend.
    bed.fairway.reload_backends(&bed.lab, &[0, 1, 2, 3]);
    let connect = || TcpStream::connect_timeout(&(backend_v4(1), HTTP).into(), Duration::from_millis(300)).map(drop);
    bed.lab
        .backend(ON_LINK_CLIENT)
        .run(connect)
        .expect("the namespace is there")
        .expect_err("its reply is translated into one of the service");
}

#[test]
fn a_host_that_does_not_forward_is_named_as_the_reason() {
    let bed = Bed::start(&Spec { replies: Replies::ThroughBalancer, ..Spec::default() }, &[0, 1, 2, 3]);
    assert!(!bed.fairway.warnings().contains("forward"), "{}", bed.fairway.warnings());
    let off = [("net/ipv4/ip_forward", "0"), ("net/ipv6/conf/all/forwarding", "0")];
    bed.lab.balancer(0).set_sysctls(&off).expect("the settings exist");

    let connect = || TcpStream::connect_timeout(&service_v4(HTTP), Duration::from_millis(300)).map(drop);
    bed.lab.client().run(connect).expect("the namespace is there").expect_err("no reply can come");

    assert!(bed.fairway.packets("drops", "forwarding-disabled") > 0.0);
    let doctor = bed.fairway.doctor();
    let findings = String::from_utf8_lossy(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(1), "{findings}");
    let warnings = bed.fairway.warnings();
    for family in ["ipv4", "ipv6"] {
        assert!(findings.contains(&format!("eth0 does not forward {family}")), "{findings}");
        assert!(warnings.contains(&format!("net/{family}/conf/eth0/forwarding=1")), "{warnings}");
    }
}

/// Backends send what is for that client by the balancer, although they have it on their link; and the client never asks
/// for the balancer's address, which would tell the balancer its own.
fn bed_with_a_client_on_the_link(service_keys: &str) -> Bed {
    let lab = lab(&Spec { backends: ON_LINK_CLIENT + 1, replies: Replies::ThroughBalancer, ..Spec::default() });
    for index in 0..ON_LINK_CLIENT {
        ip(&lab.backend(index), "route add 10.2.0.25/32 via 10.2.0.11\nroute add fd02::25/128 via fd02::11\n");
    }
    ip(
        &lab.backend(ON_LINK_CLIENT),
        "neighbour replace 10.2.0.100 lladdr 02:00:00:00:02:11 dev eth0 nud permanent
neighbour replace fd02::100 lladdr 02:00:00:00:02:11 dev eth0 nud permanent
",
    );
    Bed::in_lab(lab, |lab| {
        let usual = usual_config(lab, &[0, 1, 2, 3]);
        usual.replace("forwarding = \"nat\"\n", &format!("forwarding = \"nat\"\n{service_keys}"))
    })
}
