//! Packets that are on their way through the path while the tables change: what they loaded, they keep until a grace
//! period has passed.

use std::collections::BTreeMap;

use fairway::native::NativeTables;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use lb_common::abi::{
    Access, BucketKey, Chooser, ClientKey, Destination, Displacements, FlowKey6, FragmentEntry, FragmentKey, Load,
    ProbeTarget, Ranges, Record, Reverse, Root, Row, ServerKey, Service, Sources, Translation, Tunnel,
};
use lb_common::access::Limit;
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::Reason;
use lb_common::flow::Flow;
use lb_common::packet::Packet;
use lb_common::path::quic::By;
use lb_common::path::signs::Sign;
use lb_common::path::translation::{self, Work};
use lb_common::path::{Inserted, Route, RouteQuery, Tables, own_client};
use lb_common::scheduler::Go;
use lb_common::scheduler::locality::Servers;
use lb_common::slot::Slot;

/// What has been replaced since the last grace period, as it was before.
#[derive(Default)]
pub struct Replaced {
    root: Option<Root>,
    slots: BTreeMap<u32, u32>,
    /// Writes that were carried out before these.
    after: Option<u64>,
}

impl Replaced {
    /// Notes what `write` is about to replace; so many were carried out before it.
    pub fn note(&mut self, image: &Image, write: &Write, before: u64) {
        self.after.get_or_insert(before);
        match write {
            Write::Flip(_) => drop(self.root.get_or_insert(image.root)),
            Write::Slot(index, _) => drop(self.slots.entry(*index).or_insert(image.slots[*index as usize])),
            Write::Grace => *self = Self::default(),
            // Whole tables are written where only a later root leads to.
            Write::Slots(..) | Write::Row(..) | Write::RowMac(..) | Write::RowState(..) | Write::RowMethod(..) => {}
            Write::Tunnel(..) | Write::TunnelRoom(..) => {}
            Write::Half(_) | Write::Exclude(..) | Write::Include(..) | Write::Forget(_) => {}
            Write::Chooser(..) | Write::ChangeChooser(..) | Write::RestartTurns(_) | Write::Recount(..) => {}
            // Sets of prefixes have a number of their own each, and the simulated services have no rules.
            Write::Admit(..) | Write::Unadmit(..) | Write::Access(..) | Write::ChangeAccess(..) => {}
            Write::ClearLoads(..) | Write::MoveLoads { .. } | Write::Load(..) => {}
            // Nor have their backends server IDs.
            Write::ServerId(..) | Write::ForgetServerId(_) | Write::ClearQuic(_) => {}
        }
    }

    /// Whether a packet that comes after so many writes could have been on its way before these.
    pub fn could_be_seen_by(&self, writes: u64) -> bool {
        !self.is_empty() && self.after.is_some_and(|after| writes <= after)
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.slots.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The tables as a packet sees them that loaded the root, or its slot, before they were replaced.
pub struct InFlight<'a> {
    pub tables: &'a NativeTables,
    pub replaced: &'a Replaced,
    pub old_root: bool,
    pub old_slot: bool,
}

impl Tables for InFlight<'_> {
    fn root(&self) -> Option<&Root> {
        self.replaced.root.as_ref().filter(|_| self.old_root).or(self.tables.root())
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.replaced.slots.get(&index).filter(|_| self.old_slot).map(|&word| Slot(word)).or(self.tables.slot(index))
    }

    fn is_live(&self, index: u32) -> bool {
        self.tables.is_live(index)
    }

    fn awaits_records(&self, index: u32) -> bool {
        self.tables.awaits_records(index)
    }

    fn displacements(&self, half: u32) -> Option<&Displacements> {
        self.tables.displacements(half)
    }

    fn service(&self, index: u32) -> Option<&Service> {
        self.tables.service(index)
    }

    fn reverse(&self, index: u32) -> Option<&Reverse> {
        self.tables.reverse(index)
    }

    fn row(&self, index: u32) -> Option<&Row> {
        self.tables.row(index)
    }

    fn tunnel(&self, row: u32) -> Option<&Tunnel> {
        self.tables.tunnel(row)
    }

    fn may_answer(&self) -> bool {
        self.tables.may_answer()
    }

    fn count(&self, row: u32, bytes: u32, opens: bool) {
        self.tables.count(row, bytes, opens);
    }

    fn note_sign(&self, row: u32, sign: Sign) {
        self.tables.note_sign(row, sign);
    }

    fn mark_syn(&self, place: u32, mark: u64) -> u64 {
        self.tables.mark_syn(place, mark)
    }

    fn count_reason(&self, reason: Reason) {
        self.tables.count_reason(reason);
    }

    fn now(&self) -> u64 {
        self.tables.now()
    }

    fn with_record<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.tables.with_record(flow, act)
    }

    fn insert_record(&self, flow: &Flow, record: Record) -> Inserted {
        self.tables.insert_record(flow, record)
    }

    fn note_refusal(&self, slot: u32, now: u64) {
        self.tables.note_refusal(slot, now);
    }

    fn server(&self, key: &ServerKey) -> Option<u32> {
        self.tables.server(key)
    }

    fn count_quic(&self, place: u32, by: By) {
        self.tables.count_quic(place, by);
    }

    fn access(&self, index: u32) -> Option<Access> {
        self.tables.access(index)
    }

    fn prefix_admission(&self, set: u32, client: Address) -> Option<u32> {
        self.tables.prefix_admission(set, client)
    }

    fn take_of_service(&self, access: u32, limit: Limit, now: u64) -> bool {
        self.tables.take_of_service(access, limit, now)
    }

    fn take_of_client(&self, client: &BucketKey, limit: Limit, now: u64) -> bool {
        self.tables.take_of_client(client, limit, now)
    }

    fn chooser(&self, index: u32) -> Option<Chooser> {
        self.tables.chooser(index)
    }

    fn turn(&self, chooser: u32) -> u64 {
        self.tables.turn(chooser)
    }

    fn take_turn(&self, chooser: u32, before: u64, after: u64) -> bool {
        self.tables.take_turn(chooser, before, after)
    }

    fn random(&self) -> u32 {
        self.tables.random()
    }

    fn load(&self, index: u32) -> Option<Load> {
        self.tables.load(index)
    }

    fn count_connections(&self, load: u32, change: Counted) {
        self.tables.count_connections(load, change);
    }

    fn close(&self, load: u32) {
        self.tables.close(load);
    }

    fn with_connection<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.tables.with_connection(flow, act)
    }

    fn insert_connection(&self, flow: &Flow, record: Record) -> Inserted {
        self.tables.insert_connection(flow, record)
    }

    fn tell_record(&self, flow: &Flow, record: Record, stateful: bool) {
        self.tables.tell_record(flow, record, stateful);
    }

    fn with_client<R>(&self, client: &ClientKey, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.tables.with_client(client, act)
    }

    fn insert_client(&self, client: &ClientKey, record: Record) -> Inserted {
        self.tables.insert_client(client, record)
    }

    fn with_servers<R>(&self, destination: &Destination, act: impl FnOnce(&mut Servers) -> R) -> Option<R> {
        self.tables.with_servers(destination, act)
    }

    fn note_unrecorded(&self) {
        self.tables.note_unrecorded();
    }

    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F) {
        self.tables.repeat(times, step);
    }

    fn ranges(&self, index: u32) -> Option<&Ranges> {
        self.tables.ranges(index)
    }

    fn sources(&self) -> Option<&Sources> {
        self.tables.sources()
    }

    fn with_translation<R>(&self, key: &FlowKey6, act: impl FnOnce(&mut Translation) -> R) -> Option<R> {
        self.tables.with_translation(key, act)
    }

    fn insert_translation(&self, key: &FlowKey6, translation: &Translation) -> Inserted {
        self.tables.insert_translation(key, translation)
    }

    fn remove_translation(&self, key: &FlowKey6) {
        self.tables.remove_translation(key);
    }

    fn prepare(&self, note: impl FnOnce(&mut Work)) -> Option<()> {
        self.tables.prepare(note)
    }

    fn carry_out<P: Packet>(&self, packet: &mut P) -> Result<u32, Reason> {
        translation::carry_out(packet, self, &mut self.tables.work.get())
    }

    fn take_up<P: Packet>(&self, packet: &P) -> bool {
        let mut work = self.tables.work.get();
        let taken_up = own_client::take_up(packet, self, &mut work);
        self.tables.work.set(work);
        taken_up
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentEntry> {
        self.tables.fragment(key)
    }

    fn remember_fragment(&self, key: &FragmentKey, entry: FragmentEntry) {
        self.tables.remember_fragment(key, entry);
    }

    fn is_excluded(&self, exclude: u32, destination: Address) -> bool {
        self.tables.is_excluded(exclude, destination)
    }

    fn probed(&self, place: u32) -> Option<u32> {
        self.tables.probed(place)
    }

    fn probe_target(&self, index: u32) -> Option<&ProbeTarget> {
        self.tables.probe_target(index)
    }

    fn route(&self, query: &RouteQuery) -> Route {
        self.tables.route(query)
    }

    fn vlan(&self, interface: u32) -> Option<(u32, [u32; 2])> {
        self.tables.vlan(interface)
    }

    fn hand_over(&self, network: usize) -> bool {
        self.tables.hand_over(network)
    }
}
