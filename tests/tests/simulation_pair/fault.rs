//! Faults put in on purpose, to see that the judgement would notice them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway::exchange::message::Body;
use fairway::exchange::party::Followed;
use fairway::exchange::{Key, Message};
use fairway::native::NativeTables;
use fairway::reconcile::placed::FromMaster;
use lb_common::abi::{FlowKey6, Record};
use lb_common::connection::Counted;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Who follows settles slots by itself.
    SettleAlone,
    /// What a master had still to say when it was one no more is not heard.
    DropLastWords,
    /// The packet path is not told that records may be on their way.
    AwaitNothing,
    /// What a bulk did not mention stays.
    KeepAll,
    /// Slots that are not settled are not told of.
    LoseSlots,
    /// The record of a flow is lost on its way, now and then.
    LoseRecords,
    /// What is stored is not counted.
    CountNothing,
    /// Clients that are remembered are not told of.
    LoseClients,
}

impl Fault {
    /// What the loop hears of what masters say.
    pub fn of_followed(self, followed: Followed) -> Followed {
        if self != Self::SettleAlone {
            return followed;
        }
        let bend = |it: &FromMaster| FromMaster { slots: None, ..it.clone() };
        followed.into_iter().map(|(service, it)| (service, Arc::new(bend(&it)))).collect()
    }

    /// What becomes of a message on its way to a node that is master, or not.
    pub fn of_message(self, message: &mut Message, to_master: bool) {
        let Body::Items { items, .. } = &mut message.body else { return };
        let number = message.number;
        match self {
            Self::DropLastWords if to_master => items.clear(),
            Self::LoseSlots => items.retain(|(key, _)| !matches!(key, Key::Slots(..))),
            Self::LoseClients => items.retain(|(key, _)| !matches!(key, Key::Client(..))),
            Self::LoseRecords if number.is_multiple_of(5) => {
                let at = items.iter().position(|(key, _)| matches!(key, Key::Flow(..)));
                at.into_iter().for_each(|at| drop(items.remove(at)));
            }
            _ => {}
        }
    }

    /// What is to be brought back after something was heard, of records and of counts.
    pub fn remembers(self, tables: &NativeTables) -> Option<Before> {
        let is_bent = matches!(self, Self::KeepAll | Self::CountNothing);
        is_bent
            .then(|| Before { connections: tables.connections.borrow().clone(), loads: tables.loads.borrow().clone() })
    }

    /// Brings it back. `has_completed`: a bulk has come to its end.
    pub fn brings_back(self, tables: &mut NativeTables, before: Option<Before>, has_completed: bool) {
        let Some(Before { connections, loads }) = before else { return };
        match self {
            Self::KeepAll if has_completed => {
                let known = tables.connections.get_mut();
                for (key, record) in connections {
                    known.entry(key).or_insert(record);
                }
                *tables.loads.get_mut() = loads;
            }
            Self::CountNothing => *tables.loads.get_mut() = loads,
            _ => {}
        }
    }
}

/// Tables as they were before something was heard.
pub struct Before {
    connections: BTreeMap<FlowKey6, Record>,
    loads: BTreeMap<u32, (Counted, bool)>,
}
