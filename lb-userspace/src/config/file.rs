//! The whole file, table by table: which key becomes which field. The only place that knows both.

mod access;
mod check;
mod scheduling;
mod vrrp;

use super::code::Code;
use super::diagnostic::{Diagnostic, Problems, Span};
use super::draft::{At, Draft, DraftBackend, DraftService, DraftWrapping, Field, List};
use super::keys;
use super::model::{Admin, Dataplane, Encapsulation, Forwarding, Node, TunnelSources};
use super::reader::TableReader;
use super::value;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use toml::Spanned;
use toml::de::DeTable;

/// Reads everything that can be read of a file, and of a layer of more services. Of the layer's services those are left out, and
/// their names returned, that have the name of one of the file.
pub(super) fn read(
    document: &Spanned<DeTable<'_>>,
    layer: &Spanned<DeTable<'_>>,
    host_name: &str,
    problems: &mut Problems,
) -> (Draft, Vec<String>) {
    let top = Span::default();
    let mut file = TableReader::new(&keys::FILE, Some(document.get_ref()), top, problems);
    let node = node(file.table("node", problems), host_name, problems);

    let interfaces_span = file.value_span("dataplane");
    let mut dataplane = file.table("dataplane", problems);
    let interfaces_span = dataplane.value_span("interfaces").or(interfaces_span);
    let before = problems.count();
    let interfaces = dataplane.list("interfaces", value::interface, problems);
    let interfaces_written = !interfaces.is_empty() || problems.count() > before;
    let names = interfaces.iter().map(|interface| interface.value.clone()).collect();
    let hash_seed_written = dataplane.value_span("hash_seed").is_some();
    let own_client = dataplane.flag("own_client", problems);
    let (dataplane, sources) = read_dataplane(dataplane, names, own_client.get().copied(), problems);

    let admin = admin(file.table("admin", problems), problems);
    let routers = file.tables("vrrp", problems).into_iter().map(|table| vrrp::router(table, problems)).collect();
    let peer = file.optional_table("peer", problems).map(|table| vrrp::peer(table, problems));
    let hook = file.optional_table("hook", problems).map(|table| vrrp::hook(table, problems));
    let mut services: Vec<_> =
        file.tables("service", problems).into_iter().map(|table| service(table, problems)).collect();
    file.finish();
    let superseded = read_layer(layer, &mut services, problems);
    let draft = Draft {
        node,
        dataplane,
        own_client,
        sources,
        admin,
        interfaces,
        interfaces_span,
        interfaces_written,
        hash_seed_written,
        routers,
        peer,
        hook,
        services,
    };
    (draft, superseded)
}

/// Adds the services of a layer to those of the file, which come first where both have one of a name.
fn read_layer(layer: &Spanned<DeTable<'_>>, services: &mut Vec<DraftService>, problems: &mut Problems) -> Vec<String> {
    let names = services.iter().filter_map(|service| service.name.given());
    let in_file: HashMap<String, Span> = names.map(|name| (name.value.clone(), name.span)).collect();
    let (mut superseded, mut told) = (Vec::new(), Problems::default());
    let counts = |entries: &DeTable<'_>| {
        let Some(name) = entries.get("name") else { return true };
        let Some((text, place)) = name.get_ref().as_str().and_then(|text| Some((text, in_file.get(text)?))) else {
            return true;
        };
        let message = format!("service `{text}` was added at run time, and now the file has one of that name");
        told.push(
            Diagnostic::new(Code::Superseded, message, name.span())
                .label("this one does not count any more")
                .note(*place, "this one does"),
        );
        superseded.push(text.to_owned());
        false
    };
    let mut table = TableReader::new(&keys::LAYER, Some(layer.get_ref()), Span::default(), problems);
    let tables = table.tables_that("service", counts, problems);
    services.extend(tables.into_iter().map(|table| service(table, problems)));
    table.finish();
    problems.append(told);
    superseded
}

fn node(mut table: TableReader<'_>, host_name: &str, problems: &mut Problems) -> Option<Node> {
    let name = match table.text("name", problems) {
        Field::Absent => match value::file_name(host_name) {
            Ok(name) => Some(name),
            Err(fault) => {
                let message = format!("the host name, {host_name:?}, cannot be the node's name: it {}", fault.message);
                problems.push(Diagnostic::new(Code::BadName, message, table.span).help("set `name` in `[node]`"));
                None
            }
        },
        written => written.take(),
    };
    let state_dir = table.path("state_dir", problems).take();
    table.finish();
    Some(Node { name: name?, state_dir: state_dir? })
}

/// Reads the rest; the source addresses are returned with their places.
fn read_dataplane(
    mut table: TableReader<'_>,
    interfaces: Vec<String>,
    own_client: Option<bool>,
    problems: &mut Problems,
) -> (Option<Dataplane>, List<IpAddr>) {
    let mode = table.choice("mode", problems).take();
    let pin_path = table.path("pin_path", problems).take();
    let flow_table_capacity = table.number("flow_table_capacity", problems).take();
    let stateful_table_capacity = table.number("stateful_table_capacity", problems).take();
    let translation_table_capacity = table.number("translation_table_capacity", problems).take();
    let (sources, ports) = sources(&mut table, problems);
    let hash_seed = table.text("hash_seed", problems).take();
    let ready_timeout = table.duration("ready_timeout", problems).take();
    let v4 = tunnel_source(&mut table, "tunnel_source_v4", problems);
    let v6 = tunnel_source(&mut table, "tunnel_source_v6", problems);
    table.finish();
    let addresses = sources.items.iter().map(|at| at.value).collect();
    let dataplane = || {
        Some(Dataplane {
            interfaces,
            mode: mode?,
            pin_path: pin_path?,
            flow_table_capacity: flow_table_capacity?,
            stateful_table_capacity: stateful_table_capacity?,
            translation_table_capacity: translation_table_capacity?,
            source_nat_addresses: sources.complete.then_some(addresses)?,
            source_nat_ports: ports?,
            tunnel_sources: TunnelSources { v4: v4?, v6: v6? },
            hash_seed: hash_seed?,
            ready_timeout: ready_timeout?,
            own_client: own_client?,
        })
    };
    (dataplane(), sources)
}

/// The sources of full NAT.
fn sources(table: &mut TableReader<'_>, problems: &mut Problems) -> (List<IpAddr>, Option<(u16, u16)>) {
    let addresses = table.whole_list("source_nat_addresses", value::vrrp::one_address, problems);
    let first = table.small_number("source_nat_first_port", problems);
    let last = table.small_number("source_nat_last_port", problems);
    if let (Some(first), Some(last)) = (first.given(), last.given())
        && first.value > last.value
    {
        let message = "the last port for full NAT is below the first";
        problems.push(Diagnostic::new(Code::OutOfRange, message, last.span).note(first.span, "the first"));
    }
    (addresses, first.take().zip(last.take()))
}

/// `None` if it is written and cannot be used.
fn tunnel_source(table: &mut TableReader<'_>, key: &'static str, problems: &mut Problems) -> Option<Option<IpNet>> {
    let v4 = key.ends_with("v4");
    match table.network(key, problems) {
        Field::Absent => Some(None),
        Field::Bad => None,
        Field::Given(At { value: network, .. }) if network.addr().is_ipv4() == v4 => Some(Some(network)),
        Field::Given(At { value: network, span }) => {
            let family = if v4 { "IPv4" } else { "IPv6" };
            let message = format!("`{key}` is not of {family}: {network}");
            problems.push(Diagnostic::new(Code::FamilyMismatch, message, span));
            None
        }
    }
}

fn admin(mut table: TableReader<'_>, problems: &mut Problems) -> Option<Admin> {
    let socket = table.path("socket", problems).take();
    let listen = table.socket_address("listen", problems);
    table.finish();
    if let Some(At { value: Some(address), span }) = listen.given()
        && !address.ip().is_loopback()
    {
        problems.push(
            Diagnostic::new(Code::AdminExposed, format!("`admin.listen` is open to the network: {address}"), *span)
                .label("anyone who reaches it can read status and metrics")
                .help("use a loopback address, or see that a firewall keeps others out"),
        );
    }
    Some(Admin { socket: socket?, listen: listen.take()? })
}

fn service(mut table: TableReader<'_>, problems: &mut Problems) -> DraftService {
    let name = table.text("name", problems);
    let before = problems.count();
    let listeners = table.list("listen", value::listener, problems);
    let silent = listeners.is_empty() && problems.count() == before;
    let forwarding = table.choice("forwarding", problems);
    let wrapping = wrapping(&mut table, None, problems);
    let draft = DraftService {
        span: table.span,
        name,
        empty_listen: table.value_span("listen").filter(|_| silent),
        listeners,
        scheduler: table.choice("scheduler", problems),
        source_prefix: scheduling::prefixes(&mut table, ["source_prefix_v4", "source_prefix_v6"], problems),
        source_port: table.flag("source_port", problems),
        persistence: table
            .optional_table("persistence", problems)
            .map(|table| scheduling::persistence(table, problems)),
        vrrp: table.optional_name("vrrp", problems),
        idle_timeout: table.duration("idle_timeout", problems),
        fin_timeout: table.duration("fin_timeout", problems),
        syn_timeout: table.duration("syn_timeout", problems),
        closed_timeout: table.duration("closed_timeout", problems),
        udp: table.choice("udp", problems),
        quic_configuration: table.octet("quic_configuration", problems),
        quic_other_configuration: table.octet("quic_other_configuration", problems),
        on_no_backend: table.choice("on_no_backend", problems),
        nat_exclude: table.list("nat_exclude", value::network, problems),
        access: access::access(&mut table, problems),
        lookup_table_size: table.number("lookup_table_size", problems),
        checks: table.tables("check", problems).into_iter().map(|table| check::check(table, problems)).collect(),
        quorum: table.number("quorum", problems),
        quorum_hysteresis: table.number("quorum_hysteresis", problems),
        minimum_healthy: table.share("minimum_healthy", problems),
        on_down: table.choice("on_down", problems),
        slow_start: table.duration("slow_start", problems),
        drain_timeout: table.duration("drain_timeout", problems),
        outlier_span: table.value_span("outlier"),
        outlier: table.optional_table("outlier", problems).map(|table| check::outlier(table, problems)),
        sorry: table.optional_table("sorry", problems).map(|table| check::sorry(table, &forwarding, problems)),
        backends: table
            .tables("backend", problems)
            .into_iter()
            .map(|backend| self::backend(backend, &forwarding, &wrapping, problems))
            .collect(),
        forwarding,
        wrapping,
    };
    table.finish();
    draft
}

/// What is inherited stands where nothing is written. A port goes with the encapsulation that it was written for.
fn wrapping(table: &mut TableReader<'_>, inherited: Option<&DraftWrapping>, problems: &mut Problems) -> DraftWrapping {
    let written = table.value_span("encapsulation").or(table.value_span("encapsulation_port"));
    let own: Field<Encapsulation> = table.choice("encapsulation", problems);
    let port = table.small_number("encapsulation_port", problems);
    let (encapsulation, port) = match (inherited, own, port) {
        (Some(inherited), Field::Absent, Field::Absent) => (inherited.encapsulation.clone(), inherited.port.clone()),
        (Some(inherited), Field::Absent, port) => (inherited.encapsulation.clone(), port),
        (_, own, port) => (own, port),
    };
    DraftWrapping { encapsulation, port, written }
}

fn backend(
    mut table: TableReader<'_>,
    inherited: &Field<Forwarding>,
    inherited_wrapping: &DraftWrapping,
    problems: &mut Problems,
) -> DraftBackend {
    let address = table.address("address", problems);
    let name = match (table.text("name", problems), &address) {
        (Field::Absent, Field::Given(address)) => {
            Field::Given(At { value: address.value.to_string(), span: address.span })
        }
        (Field::Absent, Field::Absent | Field::Bad) => Field::Bad,
        (written, _) => written,
    };
    let forwarding = match table.choice("forwarding", problems) {
        Field::Absent => inherited.clone(),
        written => written,
    };
    let draft = DraftBackend {
        name,
        address,
        port: table.small_number("port", problems),
        weight: table.small_number("weight", problems),
        upper_threshold: table.number("upper_threshold", problems),
        lower_threshold: table.number("lower_threshold", problems),
        priority: table.octet("priority", problems),
        server_id: table.server_id("server_id", problems),
        forwarding,
        wrapping: wrapping(&mut table, Some(inherited_wrapping), problems),
    };
    table.finish();
    draft
}
