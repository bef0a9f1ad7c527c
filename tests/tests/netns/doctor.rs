//! `fairway doctor` finds a veth whose other end leaves checksums unfinished, and its fix is one.

use std::fs;
use std::process::{Command, Output};

use fairway::playground::Namespace;
use fairway::playground::topology::Replies;

use crate::harness::{fairway_binary, four_backends, ip, lab};

#[test]
fn unfinished_checksums_on_a_veth_are_found_and_the_fix_mends_them() {
    let lab = lab(&four_backends(Replies::Direct));
    let namespace = lab.client();
    ip(&namespace, "link add va up type veth peer name vb\nlink set vb up\naddress add 203.0.113.10/32 dev va\n");
    let config = lab.directory().join("doctor.toml");
    fs::write(
        &config,
        "[dataplane]\ninterfaces = [\"va\"]\n[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]\n\
         [[service.backend]]\naddress = \"10.9.9.9\"\n",
    )
    .expect("the lab's directory is writable");
    let config = config.to_string_lossy();

    let found = run(&namespace, &fairway_binary().to_string_lossy(), &["doctor", "--config", &config]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&found.stderr));
    let fix = text.lines().find_map(|line| line.trim().strip_prefix("ethtool ")).expect("a command that fixes it");

    let fixed = run(&namespace, "ethtool", &fix.split(' ').collect::<Vec<_>>());
    assert!(fixed.status.success(), "{}", String::from_utf8_lossy(&fixed.stderr));
    let after = run(&namespace, &fairway_binary().to_string_lossy(), &["doctor", "--config", &config]);
    assert_eq!(after.status.code(), Some(0), "{}", String::from_utf8_lossy(&after.stdout));
}

fn run(namespace: &Namespace, program: &str, arguments: &[&str]) -> Output {
    namespace
        .run(|| Command::new(program).args(arguments).output())
        .expect("the namespace is there")
        .expect("the program is installed")
}
