//! `[[vrrp]]`, `[peer]` and `[hook]`: which key becomes which field.

mod track;

use crate::config::diagnostic::Problems;
use crate::config::draft::{DraftHook, DraftPeer, DraftRoute, DraftRouter, DraftRule};
use crate::config::reader::TableReader;
use crate::config::value::vrrp as value;
use crate::config::virtual_router::VrrpVersion;

pub(super) fn router(mut table: TableReader<'_>, problems: &mut Problems) -> DraftRouter {
    let interface = table.interface("interface", problems);
    let tracks = table.tables("track", problems);
    let draft = DraftRouter {
        span: table.span,
        name: table.text("name", problems),
        vrid: table.octet("vrid", problems),
        version: table.octet("version", problems).map(version),
        priority: table.octet("priority", problems),
        advertisement_interval: table.duration("advertisement_interval", problems),
        missed_advertisements: table.octet("missed_advertisements", problems),
        preempt: table.flag("preempt", problems),
        preempt_delay: table.duration("preempt_delay", problems),
        addresses: table.whole_list("addresses", value::virtual_address, problems),
        excluded_addresses: table.whole_list("excluded_addresses", value::virtual_address, problems),
        on_crash: table.choice("on_crash", problems),
        virtual_mac: table.flag("virtual_mac", problems),
        unicast_source: table.link_address("unicast_source", problems),
        unicast_peers: table.whole_list("unicast_peers", value::address_on_link, problems),
        unicast_minimum_ttl: table.octet("unicast_minimum_ttl", problems),
        authentication: table.text("authentication", problems),
        checksum: table.choice("checksum", problems),
        group: table.optional_name("group", problems),
        tracks: tracks.into_iter().map(|table| track::read(table, &interface, problems)).collect(),
        routes: table.tables("route", problems).into_iter().map(|table| route(table, problems)).collect(),
        rules: table.tables("rule", problems).into_iter().map(|table| rule(table, problems)).collect(),
        interface,
    };
    table.finish();
    draft
}

/// The key's range leaves two.
fn version(number: u8) -> VrrpVersion {
    if number == 2 { VrrpVersion::V2 } else { VrrpVersion::V3 }
}

fn route(mut table: TableReader<'_>, problems: &mut Problems) -> DraftRoute {
    let draft = DraftRoute {
        destination: table.network("destination", problems),
        via: table.link_address("via", problems),
        interface: table.interface("interface", problems),
        source: table.link_address("source", problems),
        table: table.number("table", problems),
        metric: table.number("metric", problems),
    };
    table.finish();
    draft
}

fn rule(mut table: TableReader<'_>, problems: &mut Problems) -> DraftRule {
    let draft = DraftRule {
        span: table.span,
        from: table.network("from", problems),
        to: table.network("to", problems),
        table: table.number("table", problems),
        priority: table.number("priority", problems),
    };
    table.finish();
    draft
}

pub(super) fn peer(mut table: TableReader<'_>, problems: &mut Problems) -> DraftPeer {
    let draft = DraftPeer {
        addresses: table.whole_list("addresses", value::one_address, problems),
        port: table.small_number("port", problems),
        key_file: table.path("key_file", problems),
        heartbeat: table.duration("heartbeat", problems),
        misses: table.number("misses", problems),
        hold: table.duration("hold", problems),
        nodes: table.octet("nodes", problems),
    };
    table.finish();
    draft
}

pub(super) fn hook(mut table: TableReader<'_>, problems: &mut Problems) -> DraftHook {
    let draft = DraftHook {
        command: table.whole_list("command", value::argument, problems),
        timeout: table.duration("timeout", problems),
        user: table.text("user", problems),
    };
    table.finish();
    draft
}
