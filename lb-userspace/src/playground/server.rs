//! The backends' little servers: HTTP that answers with the backend's name, and UDP echo. `fairway demo` starts one
//! process of this per backend, so that there is something to kill. Not a web server for anything else.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Connections served at once by one listener; more are closed at once.
const MOST_CONNECTIONS: usize = 256;
/// Longest request head that is read.
const MOST_HEAD: u64 = 16 * 1024;
/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Larger than any datagram over IPv4 or IPv6.
const MOST_DATAGRAM: usize = 65_536;

/// What the server of one backend does.
#[derive(clap::Args, Clone, Debug)]
pub struct ServerOptions {
    /// What every HTTP answer says.
    #[arg(long)]
    pub name: String,
    /// Addresses to serve HTTP at.
    #[arg(long)]
    pub http: Vec<SocketAddr>,
    /// Addresses to echo UDP at.
    #[arg(long)]
    pub echo: Vec<SocketAddr>,
}

/// Serves until standard input ends, which it does when whoever started this is gone, however it went.
pub fn serve(options: &ServerOptions) -> Result<()> {
    for address in &options.http {
        let listener = TcpListener::bind(address).with_context(|| format!("listening at tcp://{address}"))?;
        let name = options.name.clone();
        thread::spawn(move || serve_http(&listener, &name));
    }
    for address in &options.echo {
        let socket = UdpSocket::bind(address).with_context(|| format!("listening at udp://{address}"))?;
        thread::spawn(move || echo(&socket));
    }
    // Tells whoever waits for it that the ports are open.
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).context("waiting on standard input")?;
    Ok(())
}

/// Sends every datagram back to where it came from, for ever.
pub fn echo(socket: &UdpSocket) {
    let mut datagram = vec![0; MOST_DATAGRAM];
    loop {
        // An error here is an earlier answer that was refused (ICMP): nothing to do with the next datagram.
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], from);
        }
    }
}

fn serve_http(listener: &TcpListener, name: &str) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (open, name) = (Arc::clone(&open), name.to_owned());
        thread::spawn(move || {
            // A client that goes away in the middle is its own business.
            let _ = converse(stream, &name);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Answers the requests of one connection until the client has enough.
fn converse(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut answers = stream;
    while let Some(keep_alive) = read_head(&mut requests)? {
        answers.write_all(answer(name, keep_alive).as_bytes())?;
        if !keep_alive {
            break;
        }
    }
    Ok(())
}

/// Reads one request head and returns whether the connection is to be kept; `None` at the end of the stream.
fn read_head(requests: &mut BufReader<TcpStream>) -> io::Result<Option<bool>> {
    let mut head = requests.take(MOST_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut keep_alive = line.trim_end().ends_with("HTTP/1.1");
    loop {
        line.clear();
        match head.read_line(&mut line)? {
            0 => return Ok(None), // cut off, or too long
            _ if line.trim().is_empty() => return Ok(Some(keep_alive)),
            _ if line.trim().eq_ignore_ascii_case("connection: close") => keep_alive = false,
            _ => {}
        }
    }
}

fn answer(name: &str, keep_alive: bool) -> String {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{name}\n",
        name.len() + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_answers_with_the_name_and_keeps_the_connection_until_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || serve_http(&listener, "b7"));
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("it closes after the second answer");
        assert_eq!(answers.matches("\r\n\r\nb7\n").count(), 2);
    }

    #[test]
    fn echo_returns_the_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        thread::spawn(move || echo(&socket));
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a valid timeout");
        client.send_to(b"hello", address).expect("loopback takes it");
        let mut answer = [0; 16];
        let length = client.recv(&mut answer).expect("it answers");
        assert_eq!(&answer[..length], b"hello");
    }
}
