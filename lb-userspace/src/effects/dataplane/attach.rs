//! Where the program is attached, and how. Native mode first; generic only when the configuration says `auto`, and loudly.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Ebpf;
use aya::programs::Xdp;

use super::link::XdpLink;
use super::object;
use crate::config::AttachMode;
use crate::effects::netlink;
use crate::nexthop::ProgramMode;

/// `XDP_FLAGS_SKB_MODE` of linux/if_link.h.
const GENERIC_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE` of linux/if_link.h.
const DRIVER_MODE: u32 = 1 << 2;

/// The program's attachments, by interface index.
#[derive(Default)]
pub struct Attachments {
    links: BTreeMap<u32, (ProgramMode, XdpLink)>,
    /// Of a daemon that died, with its program still in place.
    inherited: BTreeMap<u32, (ProgramMode, XdpLink)>,
    /// Links of ours by which that program still runs, and how ours shall be attached.
    unrelieved: BTreeMap<u32, AttachMode>,
}

/// An attachment that another process shall hold too.
#[derive(Debug)]
pub struct Held {
    /// The interface's index.
    pub interface: u32,
    /// How the program is attached.
    pub mode: ProgramMode,
    /// The link.
    pub link: OwnedFd,
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
        if let Some(mode) = self.adopt(interface, mode) {
            return Ok(mode);
        }
        let modes: &[(ProgramMode, u32)] = match mode {
            AttachMode::Native => &[(ProgramMode::Native, DRIVER_MODE)],
            AttachMode::Generic => &[(ProgramMode::Generic, GENERIC_MODE)],
            AttachMode::Auto => &[(ProgramMode::Native, DRIVER_MODE), (ProgramMode::Generic, GENERIC_MODE)],
        };
        let mut reasons = Vec::new();
        for &(mode, flags) in modes {
            let xdp = object::program(ebpf, program).map_err(|error| format!("{error:#}"))?;
            let descriptor = xdp.fd().map_err(|error| error.to_string())?;
            match XdpLink::create(descriptor.as_fd(), interface, flags) {
                Ok(link) => {
                    self.links.insert(interface, (mode, link));
                    return Ok(mode);
                }
                Err(error) => {
                    let errno = error.raw_os_error();
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

    /// Takes over what a daemon that died has left attached, to be adopted one by one as interfaces are attached to.
    pub fn inherit(&mut self, held: Vec<Held>) {
        self.inherited = held
            .into_iter()
            .map(|Held { interface, mode, link }| (interface, (mode, XdpLink::inherited(link))))
            .collect();
    }

    /// Detaches whatever was inherited and is not adopted.
    pub fn disown(&mut self) {
        self.inherited.clear();
    }

    /// Everything that is attached, for another process to hold too.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn held(&self) -> io::Result<Vec<Held>> {
        let held = |(&interface, (mode, link)): (&u32, &(ProgramMode, XdpLink))| {
            Ok(Held { interface, mode: *mode, link: link.descriptor()? })
        };
        self.links.iter().map(held).collect()
    }

    /// Takes over the link that was inherited, if the program is attached as it shall be; it stays in place until
    /// [`Self::relieve`]. Otherwise it goes, and the interface is attached to anew.
    fn adopt(&mut self, interface: u32, wanted: AttachMode) -> Option<ProgramMode> {
        let (mode, link) = self.inherited.remove(&interface)?;
        let fits = match wanted {
            AttachMode::Native | AttachMode::Auto => mode == ProgramMode::Native,
            AttachMode::Generic => mode == ProgramMode::Generic,
        };
        fits.then(|| {
            self.links.insert(interface, (mode, link));
            self.unrelieved.insert(interface, wanted);
            mode
        })
    }

    /// Whether the program of a daemon that died still runs somewhere.
    pub fn is_unrelieved(&self) -> bool {
        !self.unrelieved.is_empty()
    }

    /// Puts `program` in the place of each that a dead daemon left, with no packet in between. Where the kernel refuses, the
    /// interface is attached to anew: how that went.
    pub fn relieve(&mut self, ebpf: &mut Ebpf, program: &str) -> Vec<(u32, Result<ProgramMode, String>)> {
        let mut anew = Vec::new();
        for (interface, mode) in std::mem::take(&mut self.unrelieved) {
            let Some((_, link)) = self.links.get(&interface) else { continue };
            let xdp = object::program(ebpf, program).ok().and_then(|xdp| xdp.fd().ok());
            if xdp.is_some_and(|descriptor| link.update(descriptor.as_fd()).is_ok()) {
                continue;
            }
            self.links.remove(&interface);
            anew.push((interface, self.attach(ebpf, program, interface, mode)));
        }
        anew
    }

    /// Detaches from an interface; dropping the link is what detaches.
    pub fn detach(&mut self, interface: u32) {
        self.links.remove(&interface);
        self.unrelieved.remove(&interface);
    }

    /// Puts another program of the object in the place of the present one, on every interface at once for each: no
    /// packet passes without a program.
    ///
    /// # Errors
    /// When the kernel refuses; interfaces before that keep the new one.
    pub fn replace(&mut self, ebpf: &mut Ebpf, program: &str) -> anyhow::Result<()> {
        let descriptor = object::program(ebpf, program)?.fd()?.try_clone()?;
        for (_, link) in self.links.values() {
            link.update(descriptor.as_fd())?;
        }
        self.unrelieved.clear();
        Ok(())
    }
}

/// The kernel's own words for a refusal. A generic attachment has no driver that could have any.
fn ask_why(program: &Xdp, interface: u32, mode: ProgramMode) -> Option<String> {
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
