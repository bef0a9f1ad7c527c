//! What arrives at the thread's sockets, read and handed to the engine.

use std::io;

use super::{Arrival, MOST_PACKETS, Shell};
use crate::effects::vrrp::Machine;
use crate::effects::vrrp::advertisements::Place;
use crate::effects::vrrp::companions::Use;
use crate::effects::vrrp::hands::FOLLOW;
use crate::effects::vrrp::link_layer::next_said;
use crate::vrrp::event::{Event, Link};

impl<M: Machine> Shell<M> {
    pub(super) fn take_in(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Command => self.take_commands(),
            Arrival::Kernel => self.take_kernel_news(),
            Arrival::Advertisement(place) => self.take_advertisements(place),
            Arrival::Companion(purpose) => self.take_datagrams(purpose),
            Arrival::Arp | Arrival::Neighbour => self.take_link_messages(arrival),
        }
    }

    fn take_advertisements(&mut self, place: Place) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..MOST_PACKETS {
            match self.hands.advertisements.receive(place, &mut buffer) {
                Ok(Some(received)) => self.feed(Event::Received(received)),
                Ok(None) => {}
                Err(error) => {
                    self.buffer = buffer;
                    return self.note_receive_error("receive advertisements", &error);
                }
            }
        }
        self.buffer = buffer;
        self.view.floods += 1;
    }

    fn take_datagrams(&mut self, purpose: Use) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..MOST_PACKETS {
            match self.hands.companions.receive(purpose, &mut buffer) {
                Ok(datagram) => {
                    let (source, octets) = (datagram.source, &buffer[..datagram.length]);
                    match purpose {
                        Use::Peer { .. } => self.feed(Event::Heartbeat { source, octets }),
                        // A TTL that is not told is none that passes.
                        Use::Bfd { .. } => self.feed(Event::Bfd { source, ttl: datagram.ttl.unwrap_or(0), octets }),
                    }
                }
                Err(error) => {
                    self.buffer = buffer;
                    return self.note_receive_error("receive heartbeats and BFD", &error);
                }
            }
        }
        self.buffer = buffer;
        self.view.floods += 1;
    }

    fn take_link_messages(&mut self, arrival: Arrival) {
        for _ in 0..MOST_PACKETS {
            let Some(listener) = &self.hands.listener else { return };
            let socket = if matches!(arrival, Arrival::Arp) { &listener.arp } else { &listener.neighbours };
            match next_said(socket) {
                Ok(Some((interface, sender, said))) => {
                    if let Some((interface, address)) = self.hands.hear(interface, sender, &said) {
                        self.feed(Event::GatewayAnswered { interface, address });
                    }
                }
                Ok(None) => {}
                Err(error) => return self.note_receive_error("hear ARP and neighbour messages", &error),
            }
        }
        self.view.floods += 1;
    }

    fn note_receive_error(&mut self, what: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            self.hands.troubles.count(what, error);
        }
    }

    fn take_kernel_news(&mut self) {
        if let Err(error) = self.hands.watch.catch_up() {
            self.hands.troubles.count(FOLLOW, &error);
        }
        self.view.overruns = self.hands.watch.overruns;
    }

    /// Passes on what was learnt of interfaces and addresses, here or before addresses were added.
    pub(super) fn pass_kernel_news_on(&mut self) {
        while self.hands.watch.take_news() | self.hands.note_orders() {
            self.compare_links();
            for (interface, address) in self.hands.take_lost() {
                self.feed(Event::AddressLost { interface, address });
            }
        }
    }

    /// Tells the engine what has changed of the interfaces it knows.
    fn compare_links(&mut self) {
        for name in self.links.keys().cloned().collect::<Vec<_>>() {
            let now = self.hands.watch.link(&name);
            let before = self.links.insert(name.clone(), now.clone()).expect("the keys were just taken");
            if before == now {
                continue;
            }
            let index = |link: &Option<Link>| link.as_ref().map(|link| link.index);
            if before.is_some() && index(&before) != index(&now) {
                self.feed(Event::LinkGone { name });
            }
            let Some(link) = now else { continue };
            let was_running = before.is_some_and(|before| before.running && before.index == link.index);
            if link.running && !was_running {
                self.hands.link_is_back(link.index);
            }
            self.feed(Event::Link(link));
        }
    }
}
