//! The two records of a translated flow: looked up, made, and made anew.

use super::{Ends, Task, Work, turned};
use crate::abi::{FlowKey6, Row, Sources, Translation, method};
use crate::address::Address;
use crate::connection;
use crate::counters::Reason;
use crate::hash;
use crate::limits::SOURCE_TRIES;
use crate::packet::protocol;
use crate::packet::transport::{destination_port_wire, ports_wire as both, source_port_wire};
use crate::path::{Inserted, Tables, live_word, nat};

#[inline(always)]
pub(super) fn decide_request<T: Tables>(tables: &T, work: &mut Work) -> Result<(), Reason> {
    if work.datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let row = tables.row(work.row).ok_or(Reason::Inconsistent)?;
    let now = tables.now();
    let (live, signal) = (work.live as u16, work.flags.signal());
    let target_wire = nat::to_backend_port(work.key.ports_wire, row.port_wire);
    let known = tables.with_translation(&work.key, |it| {
        let fits = it.destination == row.address
            && destination_port_wire(it.ports_wire) == destination_port_wire(target_wire)
            && it.live == live;
        if fits {
            it.last_seen = now;
            it.state = connection::next_state(it.state, signal);
        }
        (Ends::of(it), fits)
    });
    if let Some((becomes, fits)) = known {
        work.becomes = becomes;
        if fits {
            return Ok(());
        }
        forget(tables, work);
    }
    if live_word::awaits_record_of(tables, work.live, work.key.protocol as u8, signal) {
        return Err(Reason::RecordAwaited);
    }
    begin(tables, work, row, destination_port_wire(target_wire), now)
}

/// What a reply becomes; `notes`: it is one, and not only quoted.
#[inline(always)]
pub(super) fn decide_reply<T: Tables>(tables: &T, work: &mut Work, notes: bool) -> Result<(), Reason> {
    let now = tables.now();
    let known = tables.with_translation(&work.key, |it| {
        let is_reply = it.state == 0;
        if is_reply && notes {
            it.last_seen = now;
        }
        (Ends::of(it), it.live, is_reply)
    });
    if let Some((becomes, live, true)) = known {
        (work.becomes, work.live) = (becomes, live.into());
        return live_word::check(tables, work.live);
    }
    live_word::check(tables, work.live)?;
    if work.recorded_only {
        return Err(if is_awaited_reply(tables, work) { Reason::RecordAwaited } else { Reason::NotTranslated });
    }
    let is_left_alone = work.exclude != 0 && tables.is_excluded(work.exclude, work.key.destination);
    if is_left_alone { Err(Reason::NotTranslated) } else { Ok(()) }
}

/// Deletes both records of a flow that goes elsewhere now.
#[inline(always)]
fn forget<T: Tables>(tables: &T, work: &mut Work) {
    work.back = turned(&work.becomes, work.key.protocol);
    tables.remove_translation(&work.back);
    tables.remove_translation(&work.key);
}

/// Records a flow under the first source that nobody has.
#[inline(always)]
fn begin<T: Tables>(tables: &T, work: &mut Work, row: &Row, port_wire: u16, now: u64) -> Result<(), Reason> {
    let key = &work.key;
    let (client, client_port_wire) = (key.source, source_port_wire(key.ports_wire));
    let (service, service_port_wire) = (key.destination, destination_port_wire(key.ports_wire));
    let is_own = work.task == Task::OwnRequest;
    let sources = if is_own || row.method == method::FULL_NAT {
        Some(tables.sources().ok_or(Reason::Inconsistent)?)
    } else {
        None
    };
    let mut spread = hash::flow(work.seed ^ service.low ^ service.high, client, key.ports_wire);
    work.back.source = row.address;
    work.back.protocol = key.protocol;
    work.record = Translation {
        last_seen: now,
        source: service,
        destination: client,
        ports_wire: both(service_port_wire, client_port_wire),
        live: work.live as u16,
        state: 0,
    };
    let mut attempt = 0;
    while attempt < SOURCE_TRIES {
        let (source, source_port_wire) = match sources {
            Some(sources) if is_own => (client, port_among(sources.first_port, sources.ports, spread)),
            Some(sources) => sources.pick(client.is_v4(), work.live, spread).ok_or(Reason::NoSourcePort)?,
            None if attempt == 0 => (client, client_port_wire),
            None => (client, port_among(FIRST_FREE_PORT, PORTS_ABOVE, spread)),
        };
        work.back.destination = source;
        work.back.ports_wire = both(port_wire, source_port_wire);
        let inserted = tables.insert_translation(&work.back, &work.record);
        let is_ours = match inserted {
            Inserted::Done => true,
            Inserted::Full => return Err(Reason::TranslationsFull),
            // Of this very flow, if another CPU had a packet of it a moment earlier.
            Inserted::Exists => is_of(tables, &work.back, &work.record),
        };
        if is_ours {
            work.becomes = Ends { source, destination: row.address, ports_wire: both(source_port_wire, port_wire) };
            return finish(tables, work, now);
        }
        // Steele and Vigna's constant for a linear congruential generator: its high bits serve.
        spread = spread.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        attempt += 1;
    }
    Err(Reason::NoSourcePort)
}

/// Ports below are not given to a flow that cannot have its own: firewalls take them for servers'.
pub const FIRST_FREE_PORT: u32 = 1024;

const PORTS_ABOVE: u32 = 65_536 - FIRST_FREE_PORT;

/// Whether the record under a key is the same as one that was to be made.
#[inline(always)]
fn is_of<T: Tables>(tables: &T, key: &FlowKey6, record: &Translation) -> bool {
    let same = tables.with_translation(key, |it| {
        let same = it.source == record.source
            && it.destination == record.destination
            && it.ports_wire == record.ports_wire
            && it.state == 0;
        if same {
            it.last_seen = record.last_seen;
            it.live = record.live;
        }
        same
    });
    same == Some(true)
}

/// Makes the second record of a flow, for the client's packets.
#[inline(always)]
fn finish<T: Tables>(tables: &T, work: &mut Work, now: u64) -> Result<(), Reason> {
    work.record = Translation {
        last_seen: now,
        source: work.becomes.source,
        destination: work.becomes.destination,
        ports_wire: work.becomes.ports_wire,
        live: work.live as u16,
        state: connection::first_state(work.key.protocol == protocol::TCP as u32),
    };
    match tables.insert_translation(&work.key, &work.record) {
        Inserted::Done => {
            work.begins = true;
            Ok(())
        }
        Inserted::Exists => Ok(()),
        Inserted::Full => {
            tables.remove_translation(&work.back);
            Err(Reason::TranslationsFull)
        }
    }
}

/// Whether the record of a reply may be on its way: it goes to a port that only flows get, so the host has no use for it, and
/// would reset the backend.
#[inline(always)]
fn is_awaited_reply<T: Tables>(tables: &T, work: &Work) -> bool {
    let port = u16::from_be(destination_port_wire(work.key.ports_wire)) as u32;
    work.key.protocol == protocol::TCP as u32
        && tables.awaits_records(work.live)
        && tables.sources().is_some_and(|sources| port.wrapping_sub(sources.first_port) < sources.ports)
}

/// One of so many ports, as it lies in a packet, by the low half of a hash.
#[inline(always)]
fn port_among(first: u32, ports: u32, spread: u64) -> u16 {
    // The middle of it: the lowest bits of a linear congruential generator repeat soon.
    let part = (spread >> 24) as u32;
    let port = first as u64 + ((part as u64 * ports as u64) >> 32);
    (port as u16).to_be()
}

impl Sources {
    /// A source address of a family for a service of a live word, and a port as it lies in a packet; `None` if there are none.
    #[inline(always)]
    fn pick(&self, v4: bool, live: u32, spread: u64) -> Option<(Address, u16)> {
        let share = self.shares.get(live as usize)?;
        let (first, count, addresses) =
            if v4 { (share.v4_first, share.v4_count, &self.v4) } else { (share.v6_first, share.v6_count, &self.v6) };
        let index = first as u64 + (((spread >> 48) * count as u64) >> 16);
        if count == 0 || self.ports == 0 {
            return None;
        }
        let address = addresses.get(index as usize)?;
        Some((*address, port_among(self.first_port, self.ports, spread)))
    }
}
