//! Where the program is attached, and how. Native mode first; generic only when the configuration says `auto`, and loudly.

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::programs::xdp::{XdpLink, XdpMode};

use super::object;
use crate::config::AttachMode;
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
                    reasons.push(format!("{mode}: {}", explain(errno, &error)));
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
    /// When the kernel refuses; interfaces before that keep the new one. A program that cannot be loaded changes nothing.
    pub fn replace(&mut self, ebpf: &mut Ebpf, program: &str) -> anyhow::Result<()> {
        // Before any link is touched: aya gives up a link whose program cannot be replaced.
        object::program(ebpf, program)?;
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

/// What an error means here and what to do about it.
fn explain(errno: Option<i32>, error: &dyn std::error::Error) -> String {
    match errno {
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        Some(libc::ERANGE) => "the interface's MTU is too large for this driver's native XDP; lower it".to_owned(),
        Some(libc::EINVAL) => {
            "the driver refuses the program: large-receive offload or too many queues are usual causes (see dmesg)"
                .to_owned()
        }
        Some(libc::EBUSY | libc::EEXIST) => {
            "another XDP program is attached; `bpftool net` names it, `ip link set dev IFACE xdp off` removes it"
                .to_owned()
        }
        Some(libc::EPERM | libc::EACCES) => "not permitted: run as root, or with CAP_BPF and CAP_NET_ADMIN".to_owned(),
        _ => error.to_string(),
    }
}
