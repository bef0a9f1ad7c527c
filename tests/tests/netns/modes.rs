//! Native mode or a clear word: `mode = "native"` never falls back, `auto` does so where the driver has no native XDP, and
//! says so.

use std::net::TcpStream;
use std::time::Duration;

use fairway::playground::Lab;
use fairway::playground::topology::Replies;

use crate::harness::{
    Bed, HTTP, await_that, four_backends, ip, lab, link, requests, service_v4, service_v6, usual_config,
};

/// What the kernel says of a macvlan.
const REFUSED: &str = "the driver says: Underlying driver does not support XDP in native mode";

#[test]
fn native_mode_fails_with_the_reason_where_the_driver_has_none() {
    let bed = bed_on_a_macvlan("mode = \"native\"");
    await_that("it has tried", || bed.fairway.warnings().contains("mv0"));

    let warnings = bed.fairway.warnings();
    assert!(warnings.contains(&format!("interface mv0: native: {REFUSED}")), "{warnings}");
    assert!(bed.fairway.log().contains("not attached"), "{}", bed.fairway.log());
    assert_eq!(link(&bed.lab.balancer(0), "mv0")["xdp"], serde_json::Value::Null, "it must not fall back");
    for mode in ["native", "generic"] {
        let series = format!("fairway_xdp_attached{{interface=\"mv0\",mode=\"{mode}\"}}");
        assert_eq!(bed.fairway.metric(&series), Some(0.0));
    }
    let status = bed.fairway.status();
    assert_eq!(status["node"]["ready"], false);
    assert!(status["node"]["not_ready"].to_string().contains(REFUSED), "{status}");
    let connect = || TcpStream::connect_timeout(&service_v4(HTTP), Duration::from_secs(5)).map(drop);
    bed.lab.client().run(connect).expect("the namespace is there").expect_err("without a program the host refuses");
}

#[test]
fn auto_mode_falls_back_to_generic_loudly_and_serves() {
    let bed = bed_on_a_macvlan("mode = \"auto\"");
    bed.fairway.wait_until_ready();

    assert_eq!(bed.fairway.metric("fairway_xdp_attached{interface=\"mv0\",mode=\"generic\"}"), Some(1.0));
    assert_eq!(bed.fairway.metric("fairway_xdp_attached{interface=\"mv0\",mode=\"native\"}"), Some(0.0));
    let warnings = bed.fairway.warnings();
    assert!(warnings.contains("interface mv0: generic XDP"), "{warnings}");
    assert!(bed.fairway.log().contains("GENERIC"), "{}", bed.fairway.log());
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let results = requests(&bed.lab.client(), service, 400);
        assert_eq!(results.failures, [""; 0]);
        assert_eq!(results.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"]);
    }
}

/// The balancer's addresses move to an interface of a kind that has no native XDP.
fn bed_on_a_macvlan(mode: &str) -> Bed {
    let lab = lab(&four_backends(Replies::Direct));
    // The interface beneath must not answer for them.
    lab.balancer(0).set_sysctls(&[("net/ipv4/conf/all/arp_ignore", "1")]).expect("the setting exists");
    ip(
        &lab.balancer(0),
        "address flush dev eth0 scope global
link add mv0 link eth0 address 02:00:00:00:02:99 type macvlan mode bridge
link set mv0 up
address add 10.2.0.11/24 dev mv0
address add 10.2.0.100/32 dev mv0
address add fd02::11/64 dev mv0 nodad
address add fd02::100/128 dev mv0 nodad preferred_lft 0
route add default via 10.2.0.254
route replace default via fd02::fe dev mv0
",
    );
    let on_macvlan = |lab: &Lab| {
        usual_config(lab, &[0, 1, 2, 3]).replace("interfaces = [\"eth0\"]", &format!("interfaces = [\"mv0\"]\n{mode}"))
    };
    Bed::begin(lab, on_macvlan)
}
