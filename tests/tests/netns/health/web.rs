//! `http` in both versions, against nginx.

use std::fs;

use super::servers::nginx;
use super::{Checked, await_down, await_up, fairway, one_backend};

#[test]
fn http_is_judged_by_status_and_body_and_recovers() {
    let lab = one_backend();
    let files = tempfile::tempdir().expect("a directory can be made");
    let health = files.path().join("health");
    fs::write(&health, "all is well\n").expect("it is writable");
    let server = |port: &str| format!("server {{ listen {port}; location /health {{ default_type text/plain; }} }}\n");
    let lines = server("10.2.0.21:80") + &server("10.2.0.21:81 http2");
    let root = files.path();
    let mut nginx_process = nginx(&lab, root, &lines, 80);

    let check = "type = \"http\"\npath = \"/health\"\nexpect_regex = \"well$|well\\\\n\"";
    let services = [Checked::new("first", 80, check), Checked::new("second", 81, format!("{check}\nversion = \"2\""))];
    let fairway = fairway(&lab, &services);
    let both_up = || ["first", "second"].iter().for_each(|service| await_up(&fairway, service, "HTTP 200"));
    let both_down = |why: &str| ["first", "second"].iter().for_each(|service| await_down(&fairway, service, why));
    both_up();

    fs::remove_file(&health).expect("it is there");
    both_down("HTTP 404, expected 200-299");
    fs::write(&health, "all is lost\n").expect("it is writable");
    both_down("body without /well$|well\\n/");
    fs::write(&health, "all is well\n").expect("it is writable");
    both_up();

    nginx_process.stop().expect("nginx can be waited for");
    await_down(&fairway, "first", "connection refused by 10.2.0.21:80");
    await_down(&fairway, "second", "connection refused by 10.2.0.21:81");
    let _nginx = nginx(&lab, root, &lines, 80);
    both_up();
}
