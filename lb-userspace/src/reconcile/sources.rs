//! Which source addresses full NAT gives the flows of a service: those that are where the service is. Backends send their replies there,
//! so of a service that follows a virtual router they must come to whoever is its master: they are addresses of that router, or of
//! one that moves with it. With these its flows live on on the other node ([`crate::exchange`]).
//!
//! A service that follows no router gets the addresses that no router holds. Where there is none of either kind, a service gets
//! what there is: that works while nothing moves, and `check` warns of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{ALWAYS_LIVE, SourceShare, Sources};
use lb_common::address::Address;

use super::live::LiveIndices;
use crate::config::{Config, Forwarding, Service, VirtualRouter};

/// Which routers move together: one by its group, if it has one, else by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mover<'a> {
    Router(&'a str),
    Group(&'a str),
}

/// The source addresses of one family, in an order in which those of each service lie side by side.
struct Arranged<'a>(Vec<(Option<Mover<'a>>, IpAddr)>);

/// The addresses of a family that a service gets.
pub fn of_service(config: &Config, service: &Service, is_ipv4: bool) -> Vec<IpAddr> {
    let arranged = Arranged::new(config, is_ipv4);
    let (first, count) = arranged.share(mover(config, service.vrrp.as_deref()));
    arranged.0[first..first + count].iter().map(|(_, address)| *address).collect()
}

/// Whether the flows of every service under full NAT can go to another node, as far as this goes: their source addresses follow the
/// virtual router that it follows.
pub fn all_follow(config: &Config) -> bool {
    let is_full = |service: &&Service| {
        let sorry = service.sorry.as_ref().map(|sorry| sorry.forwarding);
        service.backends.iter().map(|it| it.forwarding).chain(sorry).any(|it| it == Forwarding::FullNat)
    };
    config.services.iter().filter(is_full).all(|service| {
        let is_ipv4 = service.listeners.iter().all(|listener| listener.address.is_ipv4());
        let mover = mover(config, service.vrrp.as_deref());
        mover.is_some() && Arranged::new(config, is_ipv4).0.iter().any(|(it, _)| *it == mover)
    })
}

/// All of them, as the packet path has them. Every router that a service follows has its live word.
pub fn of(config: &Config, live: &LiveIndices) -> Sources {
    let (first, last) = config.dataplane.source_nat_ports;
    let mut sources =
        Sources { first_port: first.into(), ports: u32::from(last.saturating_sub(first)) + 1, ..Sources::default() };
    let (v4, v6) = (Arranged::new(config, true), Arranged::new(config, false));
    v4.fill(&mut sources.v4);
    v6.fill(&mut sources.v6);
    let routers = config.services.iter().filter_map(|service| service.vrrp.as_deref());
    let words = routers.filter_map(|router| Some((live.get(router)?, Some(router)))).chain([(ALWAYS_LIVE, None)]);
    for (word, router) in words {
        let Some(share) = sources.shares.get_mut(word as usize) else { continue };
        let mover = mover(config, router);
        let ((v4_first, v4_count), (v6_first, v6_count)) = (octets(v4.share(mover)), octets(v6.share(mover)));
        *share = SourceShare { v4_first, v4_count, v6_first, v6_count };
    }
    sources
}

fn octets((first, count): (usize, usize)) -> (u8, u8) {
    // There are no more than `SOURCE_ADDRESSES`.
    (first as u8, count as u8)
}

/// What a router moves with.
fn mover<'a>(config: &'a Config, router: Option<&str>) -> Option<Mover<'a>> {
    let router = router?;
    config.virtual_routers.iter().find(|it| it.name == router).map(of_router)
}

fn of_router(router: &VirtualRouter) -> Mover<'_> {
    router.group.as_deref().map_or(Mover::Router(&router.name), Mover::Group)
}

impl<'a> Arranged<'a> {
    fn new(config: &'a Config, is_ipv4: bool) -> Self {
        let mut holders = BTreeMap::new();
        for router in &config.virtual_routers {
            for net in router.addresses.iter().chain(&router.excluded_addresses) {
                holders.entry(net.addr()).or_insert_with(|| of_router(router));
            }
        }
        let addresses = config.dataplane.source_nat_addresses.iter().filter(|it| it.is_ipv4() == is_ipv4);
        let mut all: Vec<_> = addresses.map(|address| (holders.get(address).copied(), *address)).collect();
        all.sort_by_key(|(holder, _)| *holder);
        Self(all)
    }

    /// Where the addresses begin for services that move so, and how many they are.
    fn share(&self, mover: Option<Mover<'_>>) -> (usize, usize) {
        let held_by = |mover| {
            let first = self.0.iter().position(|(holder, _)| *holder == mover)?;
            Some((first, self.0.iter().filter(|(holder, _)| *holder == mover).count()))
        };
        held_by(mover).or_else(|| held_by(None)).unwrap_or((0, self.0.len()))
    }

    fn fill(&self, places: &mut [Address]) {
        places.iter_mut().zip(&self.0).for_each(|(place, (_, address))| *place = (*address).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service on 192.0.2.n that follows the router of that number, if it is not 0.
    fn service(name: &str, number: u8, router: &str) -> String {
        let follows = if router.is_empty() { String::new() } else { format!("vrrp = \"{router}\"\n") };
        format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"tcp://192.0.2.{number}:80\"]\nforwarding = \"full-nat\"\n{follows}\
             [[service.backend]]\naddress = \"10.0.0.{number}\"\n"
        )
    }

    fn router(name: &str, number: u8, source: &str, group: &str) -> String {
        format!(
            "[[vrrp]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {number}\naddresses = [\"192.0.2.{number}\"]\n\
             excluded_addresses = [{source}]\n{group}\n"
        )
    }

    fn config(sources: &str, rest: &[String]) -> Config {
        let head =
            format!("[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"x\"\nsource_nat_addresses = [{sources}]\n");
        crate::config::parse(&format!("{head}{}", rest.concat()), "host").expect("it is valid").0
    }

    fn of_each(config: &Config) -> Vec<String> {
        let texts = |service: &Service| {
            let addresses = of_service(config, service, true);
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        config.services.iter().map(texts).collect()
    }

    #[test]
    fn a_service_gets_addresses_that_move_with_it_and_the_others_those_that_do_not_move() {
        let config = config(
            "\"10.0.1.3\", \"10.0.1.9\", \"10.0.1.1\", \"10.0.1.2\", \"fd00::1\"",
            &[
                router("one", 1, "\"10.0.1.1\", \"fd00::1\"", ""),
                router("two", 2, "\"10.0.1.2\"", "group = \"g\""),
                router("three", 3, "\"10.0.1.3\"", "group = \"g\""),
                router("four", 4, "", ""),
                service("a", 1, "one"),
                service("b", 2, "two"),
                service("c", 5, ""),
                service("d", 4, "four"),
            ],
        );
        assert_eq!(of_each(&config), ["10.0.1.1", "10.0.1.3 10.0.1.2", "10.0.1.9", "10.0.1.9"]);
        assert!(!all_follow(&config), "nothing follows the fourth");
        let mut live = LiveIndices::default();
        live.assign(["one", "two", "four"]).expect("there is room");
        let sources = of(&config, &live);
        let share = |router: &str| {
            let it = sources.shares[live.get(router).expect("it was given") as usize];
            let v4 = &sources.v4[usize::from(it.v4_first)..][..usize::from(it.v4_count)];
            (v4.iter().map(|&address| IpAddr::from(address).to_string()).collect::<Vec<_>>().join(" "), it.v6_count)
        };
        assert_eq!(share("one"), ("10.0.1.1".to_owned(), 1));
        assert_eq!(share("two"), ("10.0.1.3 10.0.1.2".to_owned(), 1), "of IPv6 what there is");
        assert_eq!(share("four").0, "10.0.1.9");
        let always = sources.shares[ALWAYS_LIVE as usize];
        assert_eq!(
            (always.v4_count, IpAddr::from(sources.v4[usize::from(always.v4_first)]).to_string()),
            (1, "10.0.1.9".to_owned())
        );
    }

    #[test]
    fn where_nothing_fits_there_is_what_there_is() {
        let one = router("one", 1, "\"10.0.1.1\"", "");
        let alone = config("\"10.0.1.1\"", &[one.clone(), service("a", 1, "one"), service("b", 5, "")]);
        assert_eq!(of_each(&alone), ["10.0.1.1", "10.0.1.1"]);
        assert!(!all_follow(&alone), "the second follows nobody");
        assert!(all_follow(&config("\"10.0.1.1\"", &[one, service("a", 1, "one")])));
    }
}
