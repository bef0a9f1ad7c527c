//! A door from the host's loopback to a TCP port inside a namespace, so that `curl http://127.0.0.1:PORT/metrics` works
//! from any shell and from a browser on this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Listens on a loopback port of the calling process' namespace and passes connections on to `target` inside
/// `namespace`, until the process ends. Returns the address it listens at: `wanted` if it is free, else any port.
pub fn open(wanted: u16, namespace: &Namespace, target: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("listening on the loopback address")?;
    let address = listener.local_addr()?;
    let namespace = namespace.clone();
    thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            // What goes wrong here the visitor sees as a closed connection.
            let _ = pass_on(visitor, &namespace, target);
        }
    });
    Ok(address)
}

fn pass_on(visitor: TcpStream, namespace: &Namespace, target: SocketAddr) -> Result<()> {
    let inside = namespace.run(|| TcpStream::connect(target))??;
    let (from_visitor, to_inside) = (visitor.try_clone()?, inside.try_clone()?);
    thread::spawn(move || copy(from_visitor, to_inside));
    thread::spawn(move || copy(inside, visitor));
    Ok(())
}

/// Copies until the source ends and then says so to the other side.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}
