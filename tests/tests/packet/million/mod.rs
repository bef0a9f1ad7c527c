//! A table of connections full to the brim: what is counted after much coming and going is what is recorded, new flows for which
//! there is no room go by the lookup table, and no recorded flow is lost for them. In the kernel; `FAIRWAY_FULL=1` does it with a million.

mod churn;
mod table;

use std::time::Duration;

use fairway_tests::packet::flag;
use lb_common::connection::CLOSED_TIMEOUT;

use self::table::{BY_TABLE, Table};

fn flows() -> u32 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 1_000_000 } else { 4_000 }
}

#[test]
fn what_is_counted_is_what_is_recorded_and_a_full_table_loses_nobody() {
    let flows = flows();
    let mut table = Table::new(flows, CLOSED_TIMEOUT);
    (0..flows).for_each(|flow| table.establish(flow));
    assert_eq!(table.recorded(), table.counted(), "when all are established");
    assert_eq!(table.recorded().values().map(|it| it.active).sum::<i32>(), flows as i32);

    // One in four is reset, and its place is another's; again and again.
    for round in 0..4 {
        let (first, next) = (round * (flows / 4), flows + round * (flows / 4));
        (first..first + flows / 4).for_each(|flow| table.reset(flow));
        table.census(Duration::from_secs(u64::from(CLOSED_TIMEOUT) + 1));
        (next..next + flows / 4).for_each(|flow| table.establish(flow));
        assert_eq!(table.recorded(), table.counted(), "after round {round}");
    }
    let recorded = table.recorded();
    let (least, most) = (recorded.values().map(|it| it.active).min(), recorded.values().map(|it| it.active).max());
    assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "equal backends have equally many: {recorded:?}");

    // The table is full: what comes now goes by the lookup table, and stays there.
    let strangers = 3 * flows..3 * flows + 500;
    for flow in strangers.clone() {
        assert_eq!(table.send(flow, flag::SYN), BY_TABLE);
        assert_eq!(table.send(flow, flag::ACK), BY_TABLE);
    }
    assert_eq!(table.kernel.maps.unrecorded().expect("a counter"), strangers.len() as u64);
    assert_eq!(table.recorded(), recorded, "no recorded flow is lost");
    println!("{flows} flows: {} octets of kernel memory a flow", table.memory() / u64::from(flows));
}
