//! A packet socket on one interface: sends frames as they are, and sees every frame that arrives there.
//!
//! A room for `unsafe`: the kernel takes the outer VLAN tag out of a frame before packet sockets see it and tells it beside
//! (`PACKET_AUXDATA`), which no safe wrapper reads.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use crate::network;

/// How long a frame may be on its way: emulation is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// `PACKET_IGNORE_OUTGOING` of linux/if_packet.h.
const IGNORE_OUTGOING: c_int = 23;

pub struct Wire(OwnedFd);

impl Wire {
    /// Opens one on an interface of the calling thread's namespace.
    pub fn open(interface: &str) -> Self {
        let index = network::index(interface) as c_int;
        let every = c_int::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: takes no pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, every) };
        assert!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just opened and is nobody else's.
        let wire = Self(unsafe { OwnedFd::from_raw_fd(socket) });
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut place: libc::sockaddr_ll = unsafe { zeroed() };
        (place.sll_family, place.sll_protocol, place.sll_ifindex) = (libc::AF_PACKET as u16, every as u16, index);
        // SAFETY: the address is a `sockaddr_ll` of the length given.
        let bound = unsafe { libc::bind(socket, (&raw const place).cast(), size_of_val(&place) as u32) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut promiscuous: libc::packet_mreq = unsafe { zeroed() };
        (promiscuous.mr_ifindex, promiscuous.mr_type) = (index, libc::PACKET_MR_PROMISC as u16);
        wire.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous);
        wire.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1);
        wire.set(libc::SOL_PACKET, IGNORE_OUTGOING, &1);
        wire.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &libc::timeval { tv_sec: 0, tv_usec: 100_000 });
        wire
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) {
        let value_at: *const c_void = (&raw const *value).cast();
        // SAFETY: the value lives past the call and is as long as said.
        let set = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, value_at, size_of::<T>() as u32) };
        assert_eq!(set, 0, "socket option {option}: {}", io::Error::last_os_error());
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is as long as said.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", io::Error::last_os_error());
    }

    /// Waits for exactly this frame (Ethernet may have padded it).
    ///
    /// # Panics
    /// When it does not come; with what came instead.
    pub fn expect(&self, expected: &[u8]) {
        let mut others = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "real packets take real time")]
        let deadline = Instant::now() + PATIENCE;
        #[expect(clippy::disallowed_methods, reason = "real packets take real time")]
        while Instant::now() < deadline {
            match self.receive() {
                Some(frame) if frame.starts_with(expected) && frame[expected.len()..].iter().all(|&o| o == 0) => return,
                Some(frame) => others.push(hex(&frame)),
                None => {}
            }
        }
        panic!("expected\n  {}\nand there came\n  {}", hex(expected), others.join("\n  "));
    }

    /// The next frame, its tag put back.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0u8; 2048];
        let mut control = [0u64; 8];
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut message: libc::msghdr = unsafe { zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: frame and control buffer live past the call and are as long as said.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(usize::try_from(length).ok()?);
        if let Some(tag) = tag_beside(&message) {
            frame.splice(12..12, tag);
        }
        Some(frame)
    }
}

fn tag_beside(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: `recvmsg` has filled in the message, whose control buffer is still alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: this kind of control message holds a `tpacket_auxdata`.
    let beside = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let [a, b] = beside.tp_vlan_tpid.to_be_bytes();
    let [c, d] = beside.tp_vlan_tci.to_be_bytes();
    (beside.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
