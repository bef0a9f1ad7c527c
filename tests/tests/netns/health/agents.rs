//! `agent`, against one that says what the test wants.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use super::servers::Treating;
use super::{Checked, await_down, await_up, fairway, one_backend};

#[test]
fn an_agent_is_heard() {
    let lab = one_backend();
    let line = Arc::new(Mutex::new("up 75%\n"));
    let spoken = Arc::clone(&line);
    let agent = Treating::start(&lab, 7777, move |mut client: TcpStream| {
        // A client that has gone hears nothing.
        let _ = client.write_all(spoken.lock().unwrap_or_else(PoisonError::into_inner).as_bytes());
    });
    let says = |text| *line.lock().unwrap_or_else(PoisonError::into_inner) = text;
    let fairway = fairway(&lab, &[Checked::new("web", 80, "type = \"agent\"\nport = 7777")]);
    await_up(&fairway, "web", "agent says up 75%");
    says("drain\n");
    await_up(&fairway, "web", "agent says drain");
    says("down #disk full\n");
    await_down(&fairway, "web", "agent says down: disk full");
    says("fine\n");
    await_down(&fairway, "web", r#"agent says "fine", which it has no word for"#);
    says("ready\n");
    await_up(&fairway, "web", "agent says ready");
    drop(agent);
    await_down(&fairway, "web", "connection refused by 10.2.0.21:7777");
}
