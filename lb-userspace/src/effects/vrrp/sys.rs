//! The system calls of the VRRP thread that no safe wrapper has: a room for `unsafe`, each use a few lines.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::sys::mman::{MlockAllFlags, mlockall};
use socket2::{SockAddr, SockAddrStorage};

use super::frames::Mac;

/// `CAP_IPC_LOCK`, a bit of `CapEff`.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Gives the calling thread a real-time priority. Threads and processes that it starts do not inherit it.
pub fn become_realtime(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: thread 0 is the caller; the parameters are read and not kept.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread a nice value: the lower, the sooner it runs beside others.
///
/// # Errors
/// When that is not permitted.
pub fn set_nice(value: i32) -> io::Result<()> {
    // SAFETY: a call without pointers; on Linux 0 is the calling thread.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps in memory what is there, and from now on what is touched for the first time: not stacks and mappings as a whole.
///
/// # Errors
/// Also where only a limited amount may be locked: the limit would make a later allocation anywhere in the process fail.
pub fn lock_memory() -> io::Result<()> {
    if !may_lock_without_limit() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(())
}

fn may_lock_without_limit() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` to where one is.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (asked == 0 && limit.rlim_cur == libc::RLIM_INFINITY) || capabilities() & CAP_IPC_LOCK != 0
}

/// The calling thread's effective capabilities.
fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Where a packet socket sends to or is bound: an interface and an `EtherType`.
pub fn link_address(interface: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's socket addresses, for which all zeros are valid.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = i32::try_from(interface).expect("interface indices are positive 32-bit numbers");
    address.sll_halen = 6;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a `sockaddr_ll`, whose family was set above, and that is its length.
    unsafe { SockAddr::new(storage, length) }
}

/// The interface a packet came in by, of the address that a packet socket gives with it; none when it is on its way out.
pub fn incoming_interface(address: &SockAddr) -> Option<u32> {
    if i32::from(address.family()) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: the family says what the storage holds.
    let address = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
    let incoming = address.sll_pkttype != libc::PACKET_OUTGOING;
    incoming.then(|| u32::try_from(address.sll_ifindex).ok()).flatten()
}

/// Takes or refuses frames to a further MAC address on an interface, for as long as the packet socket is open.
pub fn set_membership(socket: &impl AsFd, interface: u32, mac: Mac, member: bool) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac);
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(interface).expect("interface indices are positive 32-bit numbers"),
        mr_type: libc::PACKET_MR_UNICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: address,
    };
    let option = if member { libc::PACKET_ADD_MEMBERSHIP } else { libc::PACKET_DROP_MEMBERSHIP };
    // SAFETY: the kernel reads as many octets as `request` has, and keeps none of it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The next datagram or frame, cut to the buffer, and where it came from.
pub fn receive_from(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr)> {
    let (start, length) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: initialised octets may be looked at as if they were not; `recv_from` only ever writes initialised ones.
    let buffer = unsafe { std::slice::from_raw_parts_mut(start.cast::<std::mem::MaybeUninit<u8>>(), length) };
    socket.recv_from(buffer)
}

/// Sets the size of a socket's receive buffer, beyond the system's limit where that is permitted.
pub fn set_receive_buffer(socket: &socket2::Socket, octets: usize) -> io::Result<()> {
    match nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &octets) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(octets),
    }
}
