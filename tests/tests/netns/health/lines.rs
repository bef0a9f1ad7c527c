//! `expect` against Redis, `smtp` against msmtpd.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::servers::{Treating, start, tell};
use super::{Checked, await_down, await_up, fairway, one_backend};
use crate::harness::tool;
use fairway::playground::{Lab, Process};

const REDIS: u16 = 6379;
const SMTP: u16 = 25;

#[test]
fn redis_answers_ping_unless_it_wants_a_password() {
    let lab = one_backend();
    let mut redis = redis(&lab);
    let check = "type = \"expect\"\nsteps = ['send PING\\r\\n', 'expect +PONG']";
    let fairway = fairway(&lab, &[Checked::new("redis", REDIS, check)]);
    await_up(&fairway, "redis", "answered with \"+PONG\"");

    assert_eq!(tell(&lab, REDIS, "CONFIG SET requirepass secret\r\n"), "+OK\r\n");
    let why = r#"no "+PONG" within 500 ms, but "-NOAUTH Authentication required.\r\n""#;
    await_down(&fairway, "redis", why);
    assert!(tell(&lab, REDIS, "AUTH secret\r\nCONFIG SET requirepass \"\"\r\n").starts_with("+OK\r\n"));
    await_up(&fairway, "redis", "answered with \"+PONG\"");

    redis.stop().expect("redis can be waited for");
    await_down(&fairway, "redis", "connection refused by 10.2.0.21:6379");
}

#[test]
fn smtp_greets_and_answers_ehlo_unless_it_hangs() {
    let lab = one_backend();
    let hangs = Arc::new(AtomicBool::new(false));
    let server = smtp(&lab, Arc::clone(&hangs));
    let fairway = fairway(&lab, &[Checked::new("mail", SMTP, "type = \"smtp\"\nhelo = \"lb1.example\"")]);
    let greeting = "SMTP 220 localhost ESMTP msmtpd";
    await_up(&fairway, "mail", greeting);
    hangs.store(true, Ordering::Relaxed);
    await_down(&fairway, "mail", "no answer within 500 ms after connecting");
    hangs.store(false, Ordering::Relaxed);
    await_up(&fairway, "mail", greeting);
    drop(server);
    await_down(&fairway, "mail", "connection refused by 10.2.0.21:25");
    let _server = smtp(&lab, hangs);
    await_up(&fairway, "mail", greeting);
}

fn redis(lab: &Lab) -> Process {
    let mut command = Command::new(tool("redis-server", "redis-server"));
    command.args(["--bind", "10.2.0.21", "--port", "6379", "--save", "", "--protected-mode", "no", "--dir"]);
    command.arg(lab.directory());
    start(lab, command, REDIS)
}

/// msmtpd for each client, as inetd would start it.
fn smtp(lab: &Lab, hangs: Arc<AtomicBool>) -> Treating {
    let msmtpd = tool("msmtpd", "msmtp-mta");
    Treating::start(lab, SMTP, move |client| {
        if hangs.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_secs(1));
            return;
        }
        let input: OwnedFd = client.try_clone().expect("a socket can be cloned").into();
        let output: OwnedFd = client.into();
        let mut command = Command::new(&msmtpd);
        command.args(["--inetd", "--log=none", "--command=true --"]).stdin(input).stdout(output);
        command.status().expect("msmtpd starts");
    })
}
