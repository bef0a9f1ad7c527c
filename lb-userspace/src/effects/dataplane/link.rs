//! An XDP program's hold on an interface: a `bpf_link`, whose descriptor is all there is to it. As long as one process has
//! it open the program stays attached, so it can be handed to the supervisor, and by it to the next daemon, without a packet
//! passing the host unforwarded. A room for `unsafe`: aya keeps the descriptors of its links to itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// `bpf(2)` commands.
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
/// Attach type of XDP programs.
const XDP: u32 = 37;

/// The start of `union bpf_attr` for `BPF_LINK_CREATE`. The kernel takes what is missing at the end for zero.
#[repr(C)]
struct Create {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// The start of `union bpf_attr` for `BPF_LINK_UPDATE`.
#[repr(C)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Dropping the last descriptor of it detaches.
#[derive(Debug)]
pub struct XdpLink(OwnedFd);

impl XdpLink {
    /// Attaches a program to an interface, by index. `flags` is of `XDP_FLAGS_*_MODE`.
    ///
    /// # Errors
    /// When the kernel or the driver refuses; `EBUSY` when another program is there.
    pub fn create(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<Self> {
        let attributes = Create { program: number(program), interface, attach_type: XDP, flags };
        let descriptor = bpf(LINK_CREATE, &attributes)?;
        // SAFETY: the command returns a descriptor that is new and that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// One that another process has made and handed over.
    pub fn inherited(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Puts another program in the place of the present one: no packet passes without.
    ///
    /// # Errors
    /// When the kernel refuses; then the present one stays.
    pub fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let attributes = Update { link: number(self.0.as_fd()), program: number(program), flags: 0, old_program: 0 };
        bpf(LINK_UPDATE, &attributes).map(drop)
    }

    /// A descriptor for another process.
    ///
    /// # Errors
    /// When this process has none left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` octets of a live `repr(C)` struct without pointers in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match i32::try_from(result) {
        Ok(answer @ 0..) => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().try_into().expect("an open descriptor is not negative")
}
