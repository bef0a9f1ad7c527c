//! A `direct` backend that answers ARP for the service's address is found and named, and one that is set up rightly is not.

use fairway::playground::topology::{Replies, SERVICE_V4};

use crate::harness::{Bed, await_that, four_backends};

/// Longer than until the first round, which is soon after the start, and than between two.
const TRIES: usize = 3;

#[test]
fn a_backend_that_answers_arp_for_the_services_address_is_named() {
    let lab = crate::harness::lab(&four_backends(Replies::Direct));
    lab.backend(2).set_sysctls(&[("net/ipv4/conf/all/arp_ignore", "0")]).expect("a setting");
    let bed = Bed::in_lab(lab, |lab| crate::harness::usual_config(lab, &[0, 1, 2, 3]));
    let named = format!("service web: ARP for {SERVICE_V4} is answered by b3 (10.2.0.23), so clients may reach");
    await_that("it is named", || bed.fairway.warnings().contains(&named));
    let events = bed.fairway.command(&["show", "events"]);
    assert!(String::from_utf8_lossy(&events.stdout).contains(&named), "it is an event, too");

    bed.lab.backend(2).set_sysctls(&[("net/ipv4/conf/all/arp_ignore", "1")]).expect("a setting");
    let is_mended = || {
        (0..TRIES).any(|_| {
            std::thread::sleep(std::time::Duration::from_secs(15));
            !bed.fairway.warnings().contains(&named)
        })
    };
    assert!(is_mended(), "{}", bed.fairway.warnings());
}
