//! An XDP program of two instructions that passes everything, attached to the router's end of a balancer's link.
//!
//! On a veth pair, frames that an XDP program sends back (`XDP_TX`) only arrive if the *other* end runs an XDP program
//! too: without one they are dropped, and with nothing but GRO there they sit in a ring until other traffic polls it.
//! Unsafe because it speaks bpf(2) itself: for two instructions that is less than an object file and its build.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;

use crate::effects::dataplane::link::XdpLink;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// Frames longer than one buffer are welcome: without this, attaching at MTU 9000 is refused.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// `r0 = XDP_PASS` and `exit`, as the eight bytes of each instruction.
const PASS_EVERYTHING: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`. The kernel takes what is missing at the end for zero.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Attaches the program to an interface of the calling thread's namespace. It stays for as long as the result does.
pub(super) fn attach(interface: &str) -> Result<OwnedFd> {
    let program = load().context("loading an XDP program that passes everything")?;
    let index = if_nametoindex(interface).with_context(|| format!("finding the interface {interface}"))?;
    let link = XdpLink::create(program.as_fd(), index, 0);
    link.and_then(|link| link.descriptor()).with_context(|| format!("attaching an XDP program to {interface}"))
}

fn load() -> io::Result<OwnedFd> {
    let license = CString::from(c"Dual MIT/GPL");
    let mut prog_name = [0; 16];
    prog_name[..8].copy_from_slice(b"lab_pass");
    bpf(
        BPF_PROG_LOAD,
        &ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: PASS_EVERYTHING.len() as u32,
            insns: PASS_EVERYTHING.as_ptr() as u64,
            license: license.as_ptr() as u64,
            prog_flags: BPF_F_XDP_HAS_FRAGS,
            prog_name,
            expected_attach_type: BPF_XDP,
            ..ProgLoad::default()
        },
    )
}

/// The command used here answers with a new file descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live `repr(C)` struct; the pointers inside it are to a
    // constant and to a string that outlives the call, with lengths that match.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *const T, size_of::<T>()) };
    let Ok(descriptor @ 0..) = i32::try_from(result) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the command returns a descriptor that is new and that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
