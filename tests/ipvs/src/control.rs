//! Telling IPVS what to do, by its socket options (`include/uapi/linux/ip_vs.h`), which know IPv4 only.

use std::ffi::{c_int, c_uint};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;

use crate::script::Backend;
use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

/// The firewall mark that makes a packet one of the service's.
pub const MARK: u32 = 1;

/// A service of the present network namespace.
pub struct Service {
    socket: Socket,
    user: ServiceUser,
}

/// How long connections live untouched, in seconds: longer than any script.
const FOREVER: c_int = 1_000_000;

/// How packets reach a backend: `IP_VS_CONN_F_…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `ipvsadm -m`
    Nat = 0,
    /// `ipvsadm -i`
    Tunnel = 2,
    /// `ipvsadm -g`
    Direct = 3,
}

impl Service {
    /// Adds a service of a firewall mark, so that it has many addresses.
    pub fn add(scheduler: &str, flags: &[String]) -> Result<Self> {
        // IPVS insists on a protocol even where the mark alone decides.
        let protocol = libc::IPPROTO_TCP as u16;
        let mut user = ServiceUser { protocol, mark: MARK, ..ServiceUser::by(scheduler) };
        for flag in flags {
            user.flags |= match flag.as_str() {
                "sh-fallback" | "mh-fallback" => 0x08,
                "sh-port" | "mh-port" => 0x10,
                other => bail!("there is no flag `{other}`"),
            };
        }
        let service = Self::of(user)?;
        service.set_udp_timeout(FOREVER)?;
        Ok(service)
    }

    /// Adds a service at an address, by rr.
    pub fn at(protocol: c_int, address: SocketAddrV4) -> Result<Self> {
        Self::of(ServiceUser {
            protocol: protocol as u16,
            address_wire: u32::from(*address.ip()).to_be(),
            port_wire: address.port().to_be(),
            ..ServiceUser::by("rr")
        })
    }

    fn of(user: ServiceUser) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        let service = Self { socket, user };
        service.set(ADD_SERVICE, &user).context("cannot add a service")?;
        Ok(service)
    }

    /// Adds a server that listens at the service's port.
    pub fn add_server(&self, address: Ipv4Addr, method: Method) -> Result<()> {
        let destination = DestinationUser {
            address_wire: u32::from(address).to_be(),
            port_wire: self.user.port_wire,
            connection_flags: method as c_uint,
            weight: 1,
            ..DestinationUser::default()
        };
        let both = ServiceAndDestination { service: self.user, destination };
        self.set(ADD_DESTINATION, &both).with_context(|| format!("cannot add {address}"))
    }

    /// Adds a backend.
    pub fn add_backend(&self, backend: &Backend) -> Result<()> {
        self.set(ADD_DESTINATION, &(self.with(backend)?)).with_context(|| format!("cannot add {}", backend.name))
    }

    /// Changes a backend.
    pub fn edit_backend(&self, backend: &Backend) -> Result<()> {
        self.set(EDIT_DESTINATION, &(self.with(backend)?)).with_context(|| format!("cannot change {}", backend.name))
    }

    /// Removes a backend.
    pub fn remove_backend(&self, name: &str) -> Result<()> {
        let backend = Backend { name: name.to_owned(), weight: 0, upper: 0, lower: 0 };
        self.set(DELETE_DESTINATION, &(self.with(&backend)?)).with_context(|| format!("cannot remove {name}"))
    }

    /// How long UDP flows live that have a packet from now on, in seconds.
    pub fn set_udp_timeout(&self, seconds: c_int) -> Result<()> {
        self.set(TIMEOUT, &Timeouts { tcp: FOREVER, fin: FOREVER, udp: seconds }).context("cannot set the timeouts")
    }

    /// Puts the timeout of [`Self::set_udp_timeout`] back.
    pub fn reset_udp_timeout(&self) -> Result<()> {
        self.set_udp_timeout(FOREVER)
    }

    /// Begins to tell of connections, as a master, by an interface.
    pub fn start_sync_daemon(&self, interface: &str) -> Result<()> {
        self.set(START_DAEMON, &DaemonUser::master(interface)).context("cannot start the sync daemon")
    }

    /// Ends that.
    pub fn stop_sync_daemon(&self, interface: &str) -> Result<()> {
        self.set(STOP_DAEMON, &DaemonUser::master(interface)).context("cannot stop the sync daemon")
    }

    fn with(&self, backend: &Backend) -> Result<ServiceAndDestination> {
        let destination = DestinationUser {
            address_wire: u32::from(address_of(&backend.name)?).to_be(),
            connection_flags: Method::Direct as c_uint,
            weight: backend.weight.try_into()?,
            upper: backend.upper,
            lower: backend.lower,
            ..DestinationUser::default()
        };
        Ok(ServiceAndDestination { service: self.user, destination })
    }

    fn set<T>(&self, option: c_int, value: &T) -> io::Result<()> {
        let size = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel reads `size` octets at `value`, a reference to as many; it keeps no pointer.
        let result = unsafe {
            libc::setsockopt(self.socket.as_raw_fd(), libc::IPPROTO_IP, option, (&raw const *value).cast(), size)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Sets one of IPVS's variables.
pub fn sysctl(name: &str, value: u32) -> Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/vs/{name}"), value.to_string()).with_context(|| format!("cannot set {name}"))
}

/// The address of a backend, whose name is a letter.
pub fn address_of(name: &str) -> Result<Ipv4Addr> {
    match name.as_bytes() {
        [letter @ b'a'..=b'z'] => Ok(Ipv4Addr::new(10, 2, 0, letter - b'a' + 1)),
        _ => bail!("`{name}` is not a letter"),
    }
}

/// The backend at an address.
pub fn name_of(address: Ipv4Addr) -> String {
    char::from(b'a' + address.octets()[3] - 1).to_string()
}

const BASE: c_int = 64 + 1024 + 64;
const ADD_SERVICE: c_int = BASE + 2;
const ADD_DESTINATION: c_int = BASE + 7;
const DELETE_DESTINATION: c_int = BASE + 8;
const EDIT_DESTINATION: c_int = BASE + 9;
const TIMEOUT: c_int = BASE + 10;
const START_DAEMON: c_int = BASE + 11;
const STOP_DAEMON: c_int = BASE + 12;

/// `struct ip_vs_service_user`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ServiceUser {
    protocol: u16,
    address_wire: u32,
    port_wire: u16,
    mark: u32,
    scheduler: [u8; 16],
    flags: c_uint,
    timeout: c_uint,
    netmask: u32,
}

impl ServiceUser {
    fn by(name: &str) -> Self {
        let mut scheduler = [0; 16];
        scheduler[..name.len()].copy_from_slice(name.as_bytes());
        Self { scheduler, netmask: u32::MAX, ..Self::default() }
    }
}

/// `struct ip_vs_dest_user`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DestinationUser {
    address_wire: u32,
    port_wire: u16,
    connection_flags: c_uint,
    weight: c_int,
    upper: u32,
    lower: u32,
}

/// What `IP_VS_SO_SET_ADDDEST` and its like take.
#[repr(C)]
struct ServiceAndDestination {
    service: ServiceUser,
    destination: DestinationUser,
}

/// `struct ip_vs_timeout_user`
#[repr(C)]
struct Timeouts {
    tcp: c_int,
    fin: c_int,
    udp: c_int,
}

/// `struct ip_vs_daemon_user`
#[repr(C)]
struct DaemonUser {
    state: c_int,
    interface: [u8; 16],
    number: c_int,
}

impl DaemonUser {
    /// `IP_VS_STATE_MASTER`
    const MASTER: c_int = 1;

    fn master(name: &str) -> Self {
        let mut interface = [0; 16];
        interface[..name.len()].copy_from_slice(name.as_bytes());
        Self { state: Self::MASTER, interface, number: 1 }
    }
}

const _: () = {
    assert!(size_of::<DaemonUser>() == 24);
    assert!(size_of::<ServiceUser>() == 44);
    assert!(size_of::<DestinationUser>() == 24);
};
