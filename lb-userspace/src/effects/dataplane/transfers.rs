//! Records of another node's on their way into the tables: many in one call to the kernel, which stores them by the program of
//! `lb-ebpf/src/store.rs`. A room for `unsafe`: aya runs programs only for who owns them, and these run on another thread.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use lb_common::abi::Transfer;
use lb_common::limits::TRANSFERS;
use zerocopy::IntoBytes as _;

/// `BPF_PROG_TEST_RUN`, a `bpf(2)` command.
const RUN: libc::c_long = 10;

/// The part of `union bpf_attr` for running a program.
#[repr(C, align(8))]
#[derive(Default)]
struct Attributes {
    program: u32,
    returned: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
}

/// See the module's description.
pub struct Transfers {
    program: OwnedFd,
    waiting: Vec<Transfer>,
}

impl Transfers {
    /// By the program that stores them.
    pub fn by(program: OwnedFd) -> Self {
        Self { program, waiting: Vec::with_capacity(TRANSFERS) }
    }

    /// Lets one wait; whether there is room for no more, and it is time to [`run`](Self::run).
    pub fn push(&mut self, it: Transfer) -> bool {
        self.waiting.push(it);
        self.waiting.len() >= TRANSFERS
    }

    /// Stores all that wait, in their order. What is returned could not be stored, or was: who stores these one by one, finds out.
    pub fn run(&mut self) -> Vec<Transfer> {
        if self.waiting.is_empty() || self.call(self.waiting.as_bytes()).is_ok_and(|failed| failed == 0) {
            self.waiting.clear();
            return Vec::new();
        }
        std::mem::replace(&mut self.waiting, Vec::with_capacity(TRANSFERS))
    }

    /// Runs the program on a frame; what it returns.
    fn call(&self, frame: &[u8]) -> io::Result<u32> {
        let mut attributes = Attributes {
            program: self.program.as_raw_fd() as u32,
            data_in_size: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat: 1,
            ..Attributes::default()
        };
        // SAFETY: the one address in the attributes is of a buffer that lives past the call and is as long as they say; the kernel
        // copies it, and writes to the attributes alone.
        let result = unsafe { libc::syscall(libc::SYS_bpf, RUN, &raw mut attributes, size_of::<Attributes>()) };
        if result == 0 { Ok(attributes.returned) } else { Err(io::Error::last_os_error()) }
    }
}
