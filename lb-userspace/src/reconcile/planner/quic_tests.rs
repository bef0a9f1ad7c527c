//! Services that go by connection IDs: whose server IDs the table says, and when.

use lb_common::abi::ConnectionIds;
use lb_common::packet::protocol::{TCP, UDP};

use super::*;
use crate::config::parse;

/// A planner and the maps that its plans are carried out on.
struct Bench {
    planner: Planner,
    image: Image,
}

impl Bench {
    fn new(config: &str) -> Self {
        let mut bench = Self { planner: Planner::new(Seed::from_text("test"), 256, 256), image: Image::new(256, 256) };
        bench.reload(config);
        bench
    }

    fn reload(&mut self, config: &str) -> Plan {
        let config = parse(config, "host").unwrap_or_else(|problems| panic!("{problems:#?}")).0;
        let plan = self.planner.configure(Duration::from_secs(1000), &self.image, &config).unwrap();
        plan.writes.iter().for_each(|write| self.image.apply(write));
        plan
    }

    /// What the packet path finds in the place of a chooser.
    fn word(&self, protocol: u8) -> u32 {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        self.image.listener(address.into(), 443u16.to_be(), protocol).unwrap().chooser
    }

    /// Server IDs, by their first octets, with the addresses of the backends whose rows they lead to.
    fn servers(&self, octets: usize) -> Vec<(Vec<u8>, IpAddr)> {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let service = self.image.listener(address.into(), 443u16.to_be(), UDP).unwrap();
        let of_service = self.image.server_ids.iter().filter(|(key, _)| key.pool == u64::from(service.pool));
        let shown = of_service.map(|(key, backend)| {
            let row = self.image.rows[(service.first_row + u32::from(*backend)) as usize];
            (key.id.octets()[..octets].to_vec(), row.address.into())
        });
        shown.collect()
    }
}

/// A service of TCP and UDP with these keys, and backends by the last part of their address, with their server IDs.
fn file(keys: &str, backends: &[(u8, &str)]) -> String {
    let backends = backends.iter().map(|(host, id)| {
        let id = if id.is_empty() { String::new() } else { format!("server_id = \"{id}\"\n") };
        format!("[[service.backend]]\naddress = \"10.0.0.{host}\"\n{id}")
    });
    let backends: String = backends.collect();
    let listen = "listen = [\"udp://192.0.2.1:443\", \"tcp://192.0.2.1:443\"]";
    let head = "dataplane.interfaces = [\"eth0\"]\n[[service]]\nname = \"red\"\nlookup_table_size = 32";
    format!("{head}\n{listen}\n{keys}\n{backends}")
}

const QUIC: &str = "udp = \"quic\"\nquic_configuration = 2\nquic_other_configuration = 5";

fn server(id: &[u8], host: u8) -> (Vec<u8>, IpAddr) {
    (id.to_vec(), IpAddr::from([10, 0, 0, host]))
}

fn position(writes: &[Write], what: impl Fn(&Write) -> bool) -> usize {
    writes.iter().position(what).unwrap()
}

#[test]
fn a_listener_of_udp_says_what_its_connection_ids_are_and_one_of_tcp_does_not() {
    let bench = Bench::new(&file(QUIC, &[(1, "0a0b0c"), (2, "0a0b0d")]));
    assert_eq!(bench.word(TCP), 0);
    let ids = ConnectionIds::of(bench.word(UDP)).unwrap();
    assert_eq!((ids.place(), ids.length()), (1, 3));
    assert!((0..8u8).filter(|configuration| ids.takes(configuration << 5)).eq([2, 5]));
    assert_eq!(bench.servers(3), [server(&[10, 11, 12], 1), server(&[10, 11, 13], 2)]);
}

#[test]
fn server_ids_are_said_before_a_packet_asks_and_forgotten_when_none_does() {
    let both = [(1, "0a"), (2, "0b")];
    let mut bench = Bench::new(&file("", &[(1, ""), (2, "")]));
    let plan = bench.reload(&file(QUIC, &both));
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let last = |what: fn(&Write) -> bool| plan.writes.iter().rposition(what).unwrap();
    assert!(last(|write| matches!(write, Write::ServerId(..))) < flip);
    assert!(last(|write| matches!(write, Write::ClearQuic(1))) < flip);

    let plan = bench.reload(&file("", &[(1, ""), (2, "")]));
    let grace = plan.writes.iter().position(|write| matches!(write, Write::Grace)).unwrap();
    let first = position(&plan.writes, |write| matches!(write, Write::ForgetServerId(_)));
    assert!(grace < first);
    assert_eq!((bench.word(UDP), bench.image.server_ids.len()), (0, 0));
}

#[test]
fn a_backend_that_is_new_is_named_after_its_rows_are_there_and_one_that_is_removed_is_not_any_more() {
    let mut bench = Bench::new(&file(QUIC, &[(1, "0a"), (2, "0b")]));
    let plan = bench.reload(&file(QUIC, &[(2, "0b"), (3, "0c")]));
    let row = position(&plan.writes, |write| matches!(write, Write::Row(..)));
    let named = position(&plan.writes, |write| matches!(write, Write::ServerId(..)));
    assert!(row < named);
    assert_eq!(bench.servers(1), [server(&[11], 2), server(&[12], 3)]);
    assert!(!plan.writes.iter().any(|write| matches!(write, Write::ClearQuic(_))), "it goes on counting");
}

#[test]
fn another_server_may_take_over_an_id_and_nothing_else_is_written_of_the_service() {
    let mut bench = Bench::new(&file(QUIC, &[(1, "0a"), (2, "0b")]));
    let plan = bench.reload(&file(QUIC, &[(1, "0b"), (2, "0a")]));
    assert_eq!(bench.servers(1), [server(&[10], 2), server(&[11], 1)]);
    assert!(plan.writes.iter().all(|write| matches!(write, Write::ServerId(..))), "{:?}", plan.writes);
    let changes = ["~ service red: server_id of 10.0.0.1 0a → 0b; server_id of 10.0.0.2 0b → 0a"];
    assert_eq!(plan.changes, changes);
    assert!(bench.reload(&file(QUIC, &[(1, "0b"), (2, "0a")])).writes.is_empty());
}

#[test]
fn longer_ids_are_there_beside_the_short_ones_until_no_packet_asks_for_those() {
    let mut bench = Bench::new(&file(QUIC, &[(1, "0a"), (2, "0b")]));
    let plan = bench.reload(&file(QUIC, &[(1, "0a01"), (2, "0b01")]));
    let named = plan.writes.iter().rposition(|write| matches!(write, Write::ServerId(..))).unwrap();
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let forgotten = position(&plan.writes, |write| matches!(write, Write::ForgetServerId(_)));
    assert!(named < flip && flip < forgotten);
    assert_eq!(bench.servers(2), [server(&[10, 1], 1), server(&[11, 1], 2)]);
}

#[test]
fn a_service_that_kept_state_goes_by_connection_ids_at_once() {
    let backends = [(1, "0a"), (2, "0b")];
    let mut bench = Bench::new(&file("scheduler = \"rr\"", &[(1, ""), (2, "")]));
    let chooser = bench.word(UDP);
    assert_eq!(ConnectionIds::of(chooser), None);
    bench.reload(&file(QUIC, &backends));
    assert!(ConnectionIds::of(bench.word(UDP)).is_some());
    assert_eq!(bench.word(TCP), chooser, "connections of TCP are still recorded");
}
