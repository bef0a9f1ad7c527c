//! Routers of one group, of two families on two links, are where both can be.

use fairway_tests::harness::ip;

use super::{FIRST, Pair, SECOND, priority, router};

const V4: &str = "10.2.0.167";
const V6: &str = "fd03::167";

#[test]
fn a_group_of_both_families_moves_together_when_one_link_goes() {
    let mut pair = Pair::new();
    add_second_link(&pair);
    for node in [FIRST, SECOND] {
        let v4 = router("v4", 1, priority(node), V4, "group = \"edge\"");
        let v6 = router("v6", 1, priority(node), V6, "group = \"edge\"").replace("\"eth0\"", "\"eth1\"");
        pair.start(node, &(v4 + &v6));
    }
    let both_at = |pair: &Pair, what: &str, node| {
        pair.await_holder(what, V4, node);
        pair.await_holder(what, V6, node);
    };
    both_at(&pair, "the better one is master of both", FIRST);
    ip(&pair.lab.router(), "link set q-lb1 down\n");
    both_at(&pair, "both have moved, though one could stay", SECOND);
    ip(&pair.lab.router(), "link set q-lb1 up\n");
    both_at(&pair, "both are back", FIRST);
    pair.cable(FIRST).pull();
    both_at(&pair, "both have moved by the other link", SECOND);
}

/// `eth1` in either balancer, joined by a switch in the router's namespace.
fn add_second_link(pair: &Pair) {
    let mut lines =
        "link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set br1 up\n".to_owned();
    for node in [FIRST, SECOND] {
        let (number, namespace) = (node + 1, pair.namespace(node));
        let port = format!("q-lb{number}");
        lines += &format!("link add {port} type veth peer name eth1 netns {}\n", namespace.name());
        lines += &format!("link set {port} master br1 up\n");
    }
    ip(&pair.lab.router(), &lines);
    for node in [FIRST, SECOND] {
        ip(&pair.namespace(node), &format!("link set eth1 up\naddress add fd03::{}/64 dev eth1 nodad\n", node + 1));
    }
}
