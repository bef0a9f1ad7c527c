//! A virtual router as one node has it configured, in the languages of Fairway, keepalived and FRR.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The addresses that floating ones are taken from begin with this host number.
const FIRST_HOST: u16 = 100;
/// The interface of every balancer of a lab.
const INTERFACE: &str = "eth0";

/// A version of VRRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds.
    V2,
    /// RFC 9568 and 5798: both families, centiseconds.
    V3,
}

/// A virtual router as one node has it configured.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its number on the link, 1 to 255.
    pub vrid: u8,
    /// The version spoken.
    pub version: Version,
    /// What it holds; over IPv6 the first is link-local (RFC 9568, section 5.2.9).
    pub addresses: Vec<IpAddr>,
    /// Between two advertisements.
    pub interval: Duration,
    /// 1 to 254.
    pub priority: u8,
    /// Whether a better one takes over from a worse one that serves.
    pub preempt: bool,
    /// Own address and those of the others, where advertisements go to each of them instead of to the group.
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
    /// Simple-text authentication (version 2, RFC 2338).
    pub password: Option<String>,
}

/// The floating address with that number, in the lab's network: `10.2.0.(100 + number)`, `fd02::(100 + number)`.
pub fn floating(number: u8, is_v6: bool) -> IpAddr {
    let host = FIRST_HOST + u16::from(number);
    if is_v6 {
        return Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, host).into();
    }
    Ipv4Addr::new(10, 2, 0, u8::try_from(host).expect("floating addresses are few")).into()
}

impl Router {
    /// An ordinary one of version 3 over IPv4: preempting, multicast, without authentication, holding `addresses`.
    pub fn new(vrid: u8, interval: Duration, priority: u8, addresses: Vec<IpAddr>) -> Self {
        Self { vrid, version: Version::V3, addresses, interval, priority, preempt: true, unicast: None, password: None }
    }

    /// What it is called in configurations.
    pub fn name(&self) -> String {
        format!("v{}{}", self.vrid, if self.is_v6() { "-6" } else { "" })
    }

    /// Whether it is one over IPv6.
    pub fn is_v6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }

    /// The address by which one can tell who is master: the last, which is never link-local.
    pub fn address(&self) -> IpAddr {
        *self.addresses.last().expect("a virtual router holds an address")
    }

    /// As a `[[vrrp]]` of Fairway's configuration.
    pub fn for_fairway(&self) -> String {
        let addresses: Vec<String> = self.prefixes().iter().map(|prefix| format!("\"{prefix}\"")).collect();
        let mut text = format!(
            "\n[[vrrp]]
name = \"{name}\"
interface = \"{INTERFACE}\"
vrid = {vrid}
version = {version}
priority = {priority}
advertisement_interval = \"{interval}ms\"
preempt = {preempt}
addresses = [{addresses}]\n",
            name = self.name(),
            vrid = self.vrid,
            version = self.version.number(),
            priority = self.priority,
            interval = self.interval.as_millis(),
            preempt = self.preempt,
            addresses = addresses.join(", "),
        );
        if let Some((source, peers)) = &self.unicast {
            let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
            line(&mut text, format_args!("unicast_source = \"{source}\"\nunicast_peers = [{}]", peers.join(", ")));
            if self.is_v6() {
                // What keepalived sends with over IPv6, unless it is told otherwise (`unicast_ttl`): the kernel's usual.
                line(&mut text, format_args!("unicast_minimum_ttl = 64"));
            }
        }
        if let Some(password) = &self.password {
            line(&mut text, format_args!("authentication = \"{password}\""));
        }
        text
    }

    /// As a `vrrp_instance` of keepalived.conf.
    pub fn for_keepalived(&self) -> String {
        let mut text = format!(
            "vrrp_instance {name} {{
  version {version}
  state BACKUP
  interface {INTERFACE}
  virtual_router_id {vrid}
  priority {priority}
  advert_int {interval}\n",
            name = self.name(),
            version = self.version.number(),
            vrid = self.vrid,
            priority = self.priority,
            interval = self.interval.as_secs_f64(),
        );
        if !self.preempt {
            text += "  nopreempt\n";
        }
        if let Some((source, peers)) = &self.unicast {
            let peers: String = peers.iter().map(|peer| format!("    {peer}\n")).collect();
            line(&mut text, format_args!("  unicast_src_ip {source}\n  unicast_peer {{\n{peers}  }}"));
        }
        if let Some(password) = &self.password {
            line(&mut text, format_args!("  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}"));
        }
        let addresses: String =
            self.prefixes().iter().map(|prefix| format!("    {prefix} dev {INTERFACE}\n")).collect();
        line(&mut text, format_args!("  virtual_ipaddress {{\n{addresses}  }}\n}}"));
        text
    }

    /// As lines below `interface eth0` of FRR. Neither unicast nor authentication exists there.
    pub fn for_frr(&self) -> String {
        assert!(self.unicast.is_none() && self.password.is_none(), "FRR knows neither unicast nor authentication");
        let (vrid, family) = (self.vrid, if self.is_v6() { "ipv6" } else { "ip" });
        let mut text = format!(" vrrp {vrid} version {}\n", self.version.number());
        line(&mut text, format_args!(" {}", self.frr_priority()));
        line(&mut text, format_args!(" vrrp {vrid} advertisement-interval {}", self.interval.as_millis()));
        if !self.preempt {
            line(&mut text, format_args!(" no vrrp {vrid} preempt"));
        }
        for address in &self.addresses {
            line(&mut text, format_args!(" vrrp {vrid} {family} {address}"));
        }
        text
    }

    /// FRR's command that sets the priority.
    pub(super) fn frr_priority(&self) -> String {
        format!("vrrp {} priority {}", self.vrid, self.priority)
    }

    /// The addresses as /32 and /128.
    fn prefixes(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })).collect()
    }
}

impl Version {
    /// As it stands in a packet.
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a string cannot fail");
}
