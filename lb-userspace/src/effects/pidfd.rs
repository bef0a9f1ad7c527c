//! A descriptor that stands for a process, whatever becomes of its number: it is readable once the process has died.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::unistd::Pid;

/// Opens one; closed on exec.
///
/// # Errors
/// When there is no such process, or no descriptor left.
pub fn open(process: Pid) -> io::Result<OwnedFd> {
    // SAFETY: a system call that takes two numbers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), libc::PIDFD_NONBLOCK) };
    match i32::try_from(answer) {
        // SAFETY: the kernel has just opened it for us, so that nobody else owns it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}
