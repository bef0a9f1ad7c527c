//! Services that go by QUIC's connection IDs.

use super::{HEAD, check};

/// Lines 2 to 5 of the file.
const SERVICE: &str = "[[service]]\nname = \"h3\"\nlisten = [\"udp://203.0.113.10:443\"]\nudp = \"quic\"\n";

#[test]
fn what_is_wrong_with_connection_ids_is_told_at_its_place() {
    let (one, two) = ("[[service.backend]]\naddress = \"10.0.0.1\"\n", "[[service.backend]]\naddress = \"10.0.0.2\"\n");
    let id = |id: &str| format!("server_id = \"{id}\"\n");
    for (rest, expected) in [
        (format!("{one}{}{two}{}", id("0a"), id("0b")), ""),
        (format!("quic_configuration = 6\n{one}{}", id("0a")), ""),
        (format!("quic_configuration = 7\n{one}{}", id("0a")), "FW0006 6:22"),
        (format!("quic_other_configuration = 3\n{one}{}", id("0a")), ""),
        (format!("quic_other_configuration = 0\n{one}{}", id("0a")), "FW0205 6:28"),
        (format!("quic_other_configuration = 8\n{one}{}", id("0a")), "FW0006 6:28"),
        (format!("scheduler = \"sh\"\n{one}{}", id("0a")), ""),
        (format!("persistence = {{}}\n{one}{}", id("0a")), ""),
        (format!("scheduler = \"wlc\"\n{one}{}", id("0a")), "FW0165 5:7"),
        (format!("rate_limit = {{ connections = 9 }}\n{one}{}", id("0a")), "FW0144 6:14"),
        (format!("{one}{}{two}", id("0a")), "FW0166 10:11"),
        (format!("{one}{two}"), "FW0166 7:11 FW0166 9:11"),
        (format!("{one}{}{two}{}", id("0a0b"), id("0A0B")), "FW0167 11:13"),
        (format!("{one}{}{two}{}", id("0a0b"), id("0a")), "FW0168 11:13"),
        (format!("{one}{}", id("0a0")), "FW0005 8:13"),
        (format!("{one}{}", id("0x0a")), "FW0005 8:13"),
        (format!("{one}{}", id("")), "FW0005 8:13"),
        (format!("{one}{}", id(&"5e".repeat(15))), ""),
        (format!("{one}{}", id(&"5e".repeat(16))), "FW0006 8:13"),
        (format!("{one}server_id = 10\n"), "FW0003 8:13"),
    ] {
        check(&format!("{HEAD}{SERVICE}{rest}"), expected);
    }
}

#[test]
fn connection_ids_are_for_udp_and_leave_other_protocols_alone() {
    let backend = "[[service.backend]]\naddress = \"10.0.0.1\"\nserver_id = \"0a\"\n";
    let file =
        |listen: &str, keys: &str| format!("{HEAD}[[service]]\nname = \"a\"\nlisten = [{listen}]\n{keys}{backend}");
    let (udp, tcp, esp) = ("\"udp://203.0.113.10:443\"", "\"tcp://203.0.113.10:443\"", "\"esp://203.0.113.10\"");
    check(&file(&format!("{udp}, {tcp}"), "udp = \"quic\"\n"), "");
    check(&file(tcp, "udp = \"quic\"\n"), "FW0205 5:7");
    check(&file(udp, ""), "FW0205 7:13");
    check(&file(udp, "udp = \"flows\"\nquic_configuration = 1\n"), "FW0205 6:22 FW0205 9:13");
    check(&file(&format!("{udp}, {esp}"), "udp = \"quic\"\nscheduler = \"sh\"\n"), "FW0146 4:37");
}
