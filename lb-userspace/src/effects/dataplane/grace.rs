//! Waits until every packet that was in flight is done (an RCU grace period): XDP programs run under RCU, so after it none
//! holds what a table said before. A small room for `unsafe`: `membarrier` has no wrapper in nix.

use anyhow::Context as _;

/// `MEMBARRIER_CMD_GLOBAL`: the kernel implements it by `synchronize_rcu`.
const GLOBAL: libc::c_int = 1;

/// Waits for a grace period: some milliseconds.
///
/// # Errors
/// When the kernel was built without `membarrier`.
pub fn wait() -> anyhow::Result<()> {
    // SAFETY: the call takes integers only and writes no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("membarrier (waiting for packets in flight)");
    }
    Ok(())
}
