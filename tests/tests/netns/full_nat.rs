//! Full NAT, and servers that several services share: replies find their way by the records of their flows.

use std::process::{Command, Stdio};

use fairway::playground::topology::{Replies, Spec};
use fairway::playground::{Lab, Namespace};

use crate::harness::{
    Bed, ECHO, Echo, HTTP, HTTP_TOO, await_that, flow, ip, lab, requests, service_v4, service_v6, usual_config,
};

/// The fifth backend's namespace serves nothing: it is a client on the balancer's own link.
const ON_LINK_CLIENT: usize = 4;
const SOURCES: &str = "[dataplane]\nsource_nat_addresses = [\"10.2.0.11\", \"fd02::11\"]\n";

#[test]
fn backends_need_no_route_back_and_clients_may_be_beside_them() {
    let bed = full_nat_bed("");
    let on_link = bed.lab.backend(ON_LINK_CLIENT);
    for client in [&bed.lab.client(), &on_link] {
        for service in [service_v4(HTTP), service_v6(HTTP)] {
            let answers = requests(client, service, 100);
            assert_eq!(answers.failures, [""; 0], "{service}: {}", bed.traces());
            assert_eq!(answers.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"], "{service}");
        }
        let url = format!("http://{}/", service_v4(HTTP));
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", &url]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = client.run(move || command.output()).expect("the namespace is there").expect("curl is installed");
        assert!(output.status.success() && output.stdout.starts_with(b"b"), "{output:?}");
    }
    let recorded = || bed.fairway.metric("fairway_translation_table_entries");
    await_that("a census counts them", || recorded().is_some_and(|entries| entries > 100.0));
    assert_eq!(bed.fairway.packets("drops", "no-source-port"), 0.0);
}

#[test]
fn datagrams_come_back_too() {
    let bed = full_nat_bed("");
    let _echoes: Vec<Echo> = (0..ON_LINK_CLIENT).map(|index| Echo::start(&bed.lab, index)).collect();
    for client in [bed.lab.client(), bed.lab.backend(ON_LINK_CLIENT)] {
        for service in [service_v4(ECHO), service_v6(ECHO)] {
            let socket = flow(&client, service);
            let mut buffer = [0; 64];
            socket.send(b"anybody?").expect("there is a route");
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{service}: {error}"));
            assert!(buffer[..length].ends_with(b"anybody?"), "{:?}", &buffer[..length]);
        }
    }
}

#[test]
fn a_flow_that_finds_no_source_is_dropped_and_the_others_go_on() {
    let bed = full_nat_bed("source_nat_first_port = 2000\nsource_nat_last_port = 2001\n");
    // Each of four servers takes two flows, at each of its ports.
    let kept = crate::harness::KeptConnections::open(&bed.lab.client(), service_v4(HTTP), 2);
    kept.wait_for_answers(1);
    connect_in_vain(&bed.lab.client(), 40);
    assert!(bed.fairway.packets("drops", "no-source-port") > 0.0);
    kept.wait_for_answers(4);
    for history in kept.close() {
        assert_eq!((history.failure, history.backends.len()), (None, 1));
    }
}

#[test]
fn services_that_share_servers_are_told_apart_also_while_one_goes() {
    let lab = lab(&Spec { replies: Replies::ThroughBalancer, ..Spec::default() });
    let both = |lab: &Lab| with_a_second_service(&usual_config(lab, &[0, 1, 2, 3]));
    let bed = Bed::in_lab(lab, both);
    for service in [service_v4(HTTP), service_v4(HTTP_TOO)] {
        let answers = requests(&bed.lab.client(), service, 100);
        assert_eq!(answers.failures, [""; 0], "{service}: {}", bed.traces());
        assert_eq!(answers.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"], "{service}");
    }
    let kept = crate::harness::KeptConnections::open(&bed.lab.client(), service_v4(HTTP), 16);
    kept.wait_for_answers(1);
    for config in [usual_config(&bed.lab, &[0, 1, 2, 3]), both(&bed.lab)] {
        let reload = bed.fairway.reload(&config);
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        kept.wait_for_answers(16);
    }
    for history in kept.close() {
        assert_eq!((history.failure, history.backends.len()), (None, 1));
    }
}

/// Backends whose default route is not by the balancer, and a client on their link that they answer directly.
fn full_nat_bed(keys: &str) -> Bed {
    let lab = lab(&Spec { backends: ON_LINK_CLIENT + 1, replies: Replies::ThroughBalancer, ..Spec::default() });
    for index in 0..=ON_LINK_CLIENT {
        ip(
            &lab.backend(index),
            "route replace default via 10.2.0.254
route del default via fd02::11
route add default via fd02::fe
",
        );
    }
    Bed::in_lab(lab, |lab| {
        usual_config(lab, &[0, 1, 2, 3])
            .replace("forwarding = \"nat\"\n", "forwarding = \"full-nat\"\n")
            .replace("[dataplane]\n", &format!("{SOURCES}{keys}"))
    })
}

/// Another service with the same servers, at the same port of theirs.
fn with_a_second_service(usual: &str) -> String {
    let mut text = format!(
        "{usual}\n[[service]]\nname = \"again\"\nlisten = [\"tcp://10.2.0.100:{HTTP_TOO}\"]\nforwarding = \"nat\"\n"
    );
    for index in 0..4 {
        let address = fairway::playground::topology::backend_v4(index);
        text += &format!("\n[[service.backend]]\naddress = \"{address}\"\nport = {HTTP}\n");
    }
    text
}

/// So many connections at once, of which most find no source.
fn connect_in_vain(from: &Namespace, count: usize) {
    let attempts = move || {
        let attempt = |_| {
            std::thread::spawn(|| {
                let patience = std::time::Duration::from_secs(3);
                let stream = std::net::TcpStream::connect_timeout(&service_v4(HTTP), patience);
                std::thread::sleep(patience);
                drop(stream);
            })
        };
        let all: Vec<_> = (0..count).map(attempt).collect();
        all.into_iter().for_each(|one| one.join().expect("it does not panic"));
    };
    from.run(attempts).expect("the namespace is there");
}
