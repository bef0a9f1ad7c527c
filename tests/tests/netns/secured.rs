//! ESP and AH: all that a client sends goes to the backend that it exchanges keys with, before a change of the pool and after it, and
//! `explain` says which that is.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6};

use crate::harness::{Fairway, RawClient, RawServer, four_backends, ip, lab, usual_config};

const UDP: u8 = 17;
const ESP: u8 = 50;
const AH: u8 = 51;
const IKE: u16 = 500;
const CLIENTS: u8 = 24;
const BACKENDS: usize = 4;

#[test]
fn what_a_client_secures_goes_where_its_keys_are() {
    let lab = lab(&four_backends(Replies::Direct));
    let _ports = ports(&lab);
    let protocols = [UDP, ESP, AH];
    let start = |index: usize| protocols.map(|protocol| RawServer::start(&lab, index, protocol, answer));
    let _servers: Vec<[RawServer; 3]> = (0..BACKENDS).map(start).collect();
    let lines = |n: u8| format!("address add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad\n", v4(n), v6(n));
    ip(&lab.client(), &(0..CLIENTS).map(lines).collect::<String>());
    let fairway = Fairway::start_with(&lab, &config(&lab));
    fairway.wait_until_ready();

    for (name, service, client) in [
        ("four", IpAddr::from(SERVICE_V4), (|n| v4(n).into()) as fn(u8) -> IpAddr),
        ("six", IpAddr::from(SERVICE_V6), |n| v6(n).into()),
    ] {
        let home = |n: u8| {
            let homes = protocols.map(|protocol| {
                let mut client = RawClient::at(&lab.client(), client(n), service, protocol);
                let packet = packet(protocol, n);
                let answer = client.ask(&packet, |answer| answer.len() == packet.len() && answer[12] == n);
                let answer = answer.unwrap_or_else(|error| {
                    panic!("{name}, client {n}, protocol {protocol}: {error}\n{}", fairway.fates())
                });
                usize::from(answer[13])
            });
            assert!(homes.iter().all(|home| *home == homes[0]), "{name}, client {n}: {homes:?}");
            homes[0]
        };
        let before: Vec<usize> = (0..CLIENTS).map(home).collect();
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), BACKENDS, "{name}: {before:?}");
        for n in 0..4 {
            let brackets = if service.is_ipv6() { format!("esp://[{service}]") } else { format!("esp://{service}") };
            let said = fairway.command(&["explain", "--from", &client(n).to_string(), &brackets]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains(&format!("backend  b{}\n", before[usize::from(n)])), "{name}, client {n}: {said}");
        }

        let output = fairway.command(&["backend", "drain", name, "b0"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (n, before) in (0..).zip(before) {
            let now = home(n);
            assert!(
                now == before && before != 0 || before == 0 && now != 0,
                "{name}, client {n}: {before}, then {now}"
            );
        }
    }
    let begun = fairway.metric_sum("fairway_service_connections_total");
    assert_eq!(begun, 0.0, "nothing of this says that it is new");
}

fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 100 + n)
}

fn v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x100 + u16::from(n))
}

/// Somebody who has the port of IKE on every backend, so that their kernels do not refuse it. Raw sockets answer.
fn ports(lab: &Lab) -> Vec<UdpSocket> {
    let all = (0..BACKENDS).flat_map(|index| lab.backend_listeners(index, IKE).into_iter().map(move |at| (index, at)));
    let bind = |(index, at): (usize, SocketAddr)| {
        lab.backend(index).run(|| UdpSocket::bind(at)).expect("the namespace is there").expect("the port is free")
    };
    all.map(bind).collect()
}

fn config(lab: &Lab) -> String {
    let usual = usual_config(lab, &[]);
    let beginning = &usual[..usual.find("[[service]]").expect("it has services")];
    let service = |name: &str, address: String, backend: fn(usize) -> IpAddr| {
        let listen = format!("\"udp://{address}:{IKE}\", \"esp://{address}\", \"ah://{address}\"");
        let mut text = format!("\n[[service]]\nname = \"{name}\"\nlisten = [{listen}]\nscheduler = \"source-hash\"\n");
        for index in 0..BACKENDS {
            text += &format!("[[service.backend]]\nname = \"b{index}\"\naddress = \"{}\"\n", backend(index));
        }
        text
    };
    let four = service("four", SERVICE_V4.to_string(), |index| backend_v4(index).into());
    let six = service("six", format!("[{SERVICE_V6}]"), |index| backend_v6(index).into());
    format!("{beginning}{four}{six}")
}

/// What a client sends: a header, its number, and a place for the backend's. ESP has no order that anybody but the two ends could read.
fn packet(protocol: u8, n: u8) -> Vec<u8> {
    let [a, b] = IKE.to_be_bytes();
    let header = match protocol {
        UDP => [a, b, a, b, 0, 24, 0, 0, 0, 0, 0, 0],
        ESP => [0, 0, 1, n, 0, 0, 0, 1, 0, 0, 0, 0],
        // The next header is none; the length is in words, less two.
        _ => [59, 4, 0, 0, 0, 0, 1, n, 0, 0, 0, 1],
    };
    [&header[..], &[n, 0xff], &[0; 10]].concat()
}

fn answer(packet: &[u8], index: usize) -> Vec<u8> {
    let mut answer = packet.to_vec();
    answer[13] = index as u8;
    answer
}
