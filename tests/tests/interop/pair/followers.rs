//! Routes and policy rules are where the master is.

use fairway_tests::harness::{await_that, ip_says};
use serde_json::Value;

use super::{FIRST, Pair, SECOND, priority, router};

const ADDRESS: &str = "10.2.0.165";

#[test]
fn routes_and_rules_follow_the_master() {
    let extra = format!(
        "[[vrrp.route]]
destination = \"0.0.0.0/0\"
via = \"10.2.0.254\"
source = \"{ADDRESS}\"
table = 100
[[vrrp.route]]
destination = \"198.51.100.0/24\"
via = \"10.2.0.254\"
metric = 7
[[vrrp.rule]]
from = \"{ADDRESS}/32\"
table = 100
priority = 50"
    );
    let mut pair = Pair::start_both(ADDRESS, |node| router("public", 1, priority(node), ADDRESS, &extra));
    await_that("the master has all", || present(&pair, FIRST) == [true; 3]);
    assert_eq!(present(&pair, SECOND), [false; 3], "the backup has none");
    pair.stop(FIRST);
    await_that("the new master has all", || present(&pair, SECOND) == [true; 3]);
    assert_eq!(present(&pair, FIRST), [false; 3], "the old one has none");
}

/// The default route of table 100, the route in main, the rule.
fn present(pair: &Pair, node: usize) -> [bool; 3] {
    let namespace = pair.namespace(node);
    let any = |arguments: &[&str], is_it: &dyn Fn(&Value) -> bool| {
        ip_says(&namespace, arguments).as_array().expect("a list").iter().any(is_it)
    };
    [
        any(&["route", "show", "table", "all"], &|route| {
            route["dst"] == "default" && route["table"] == "100" && route["prefsrc"] == ADDRESS
        }),
        any(&["route", "show", "198.51.100.0/24"], &|route| route["metric"] == 7),
        any(&["rule", "show", "priority", "50"], &|rule| rule["table"] == "100" && rule["src"] == ADDRESS),
    ]
}
