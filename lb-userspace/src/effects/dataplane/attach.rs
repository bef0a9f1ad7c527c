//! Where the program is attached, and how. Native mode first; generic only when the configuration says `auto`, and loudly.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::programs::Xdp;
use aya::programs::xdp::{XdpLink, XdpMode};

use super::object;
use crate::config::AttachMode;
use crate::effects::netlink;
use crate::nexthop::ProgramMode;

/// The program's attachments, by interface index.
#[derive(Default)]
pub struct Attachments {
    links: BTreeMap<u32, (ProgramMode, XdpLink)>,
}

impl Attachments {
    /// Attaches `program` to an interface; how it went, or why not, in words that say what to do.
    pub fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        program: &str,
        interface: u32,
        mode: AttachMode,
    ) -> Result<ProgramMode, String> {
        let modes: &[(ProgramMode, XdpMode)] = match mode {
            AttachMode::Native => &[(ProgramMode::Native, XdpMode::Driver)],
            AttachMode::Generic => &[(ProgramMode::Generic, XdpMode::Skb)],
            AttachMode::Auto => &[(ProgramMode::Native, XdpMode::Driver), (ProgramMode::Generic, XdpMode::Skb)],
        };
        let mut reasons = Vec::new();
        for &(mode, flags) in modes {
            let xdp = object::program(ebpf, program).map_err(|error| format!("{error:#}"))?;
            let attached = xdp.attach_to_if_index(interface, flags).and_then(|link| xdp.take_link(link));
            match attached {
                Ok(link) => {
                    self.links.insert(interface, (mode, link));
                    return Ok(mode);
                }
                Err(error) => {
                    let errno = errno(&error);
                    let sentence = ask_why(xdp, interface, mode);
                    reasons.push(format!("{mode}: {}", explain(errno, sentence, &error)));
                    // Only what a driver cannot do is tried another way: a foreign program is not to be gone around.
                    if !matches!(errno, Some(libc::EOPNOTSUPP | libc::ERANGE | libc::EINVAL)) {
                        break;
                    }
                }
            }
        }
        Err(reasons.join("; "))
    }

    /// Detaches from an interface; dropping the link is what detaches.
    pub fn detach(&mut self, interface: u32) {
        self.links.remove(&interface);
    }

    /// Puts another program of the object in the place of the present one, on every interface at once for each: no
    /// packet passes without a program.
    ///
    /// # Errors
    /// When the kernel refuses; interfaces before that keep the new one.
    pub fn replace(&mut self, ebpf: &mut Ebpf, program: &str) -> anyhow::Result<()> {
        let interfaces: Vec<u32> = self.links.keys().copied().collect();
        for interface in interfaces {
            let Some((mode, link)) = self.links.remove(&interface) else { continue };
            let xdp = object::program(ebpf, program)?;
            let id = xdp.attach_to_link(link)?;
            self.links.insert(interface, (mode, xdp.take_link(id)?));
        }
        Ok(())
    }
}

/// The system's error number behind aya's wrapping.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::raw_os_error)
}

/// The kernel's own words for a refusal. A generic attachment has no driver that could have any.
fn ask_why(program: &Xdp, interface: u32, mode: ProgramMode) -> Option<String> {
    /// `XDP_FLAGS_DRV_MODE` of linux/if_link.h.
    const DRIVER_MODE: u32 = 1 << 2;
    let program = program.fd().ok().filter(|_| mode == ProgramMode::Native)?;
    netlink::ask_why(interface, program.as_fd(), DRIVER_MODE)
}

/// What an error means here and what to do about it: the driver's sentence where it has one, since only the driver knows
/// which of many things is in its way.
fn explain(errno: Option<i32>, sentence: Option<String>, error: &dyn std::error::Error) -> String {
    let or = |guess: &str| sentence.as_ref().map_or(guess.to_owned(), |words| format!("the driver says: {words}"));
    match errno {
        Some(libc::EOPNOTSUPP) => or("the driver has no native XDP for this interface as it is set up"),
        Some(libc::ERANGE) => or("the interface's MTU is too large for this driver's native XDP; lower it"),
        Some(libc::EINVAL) => {
            or("the driver refuses the program: large-receive offload, the MTU or too many queues are \
                                  usual causes (see dmesg)")
        }
        Some(libc::EBUSY | libc::EEXIST) => {
            let found = sentence.map_or(String::new(), |words| format!(" (the kernel says: {words})"));
            format!(
                "another XDP program is attached{found}; `bpftool net` names it, \
                 `ip link set dev IFACE xdp off` removes it"
            )
        }
        Some(libc::EPERM | libc::EACCES) => "not permitted: run as root, or with CAP_BPF and CAP_NET_ADMIN".to_owned(),
        _ => error.to_string(),
    }
}
