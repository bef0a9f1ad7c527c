//! The configuration: text in, a [`Config`] or every problem out.
//!
//! Intuition: an operator who breaks a file at three in the morning wants all of its problems at once, each with its
//! line, and wants to know that what is running was left alone. So the file is read in three steps, none of which stops
//! at the first problem:
//!
//! 1. `reader` walks the parsed TOML beside the key table (`keys`) and makes a draft of whatever is readable;
//! 2. `rules` compares the parts of the draft with one another;
//! 3. only a draft without any error becomes a [`Config`]. Hence *a config that exists is valid*, and whoever holds one
//!    checks nothing again.
//!
//! Serde's derive is not used for reading: it stops at the first problem and its messages speak of Rust types.
//! Nothing here reads a file, a clock or the host (the host name is an argument): called by `check`, `run`, `reload`
//! and `diff`.

mod access;
pub mod check;
mod check_kind;
mod code;
mod diagnostic;
mod draft;
mod file;
mod keys;
mod layer;
mod model;
mod quic;
mod reader;
mod render;
mod rules;
mod scheduling;
mod schema;
mod track_kind;
mod value;
mod virtual_router;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use access::{Access, Rate, RateLimit};
pub use code::Code;
pub use diagnostic::{Diagnostic, Note, Severity, Span};
pub use layer::{Change, Layer, LayerOrder};
pub use model::{
    Admin, AttachMode, Backend, Config, Dataplane, Encapsulation, Forwarding, Listener, Node, OnNoBackend, Ports,
    Protocol, Service, TunnelSources, UdpMode, Wrapping,
};
pub use quic::{Configurations, ServerId};
pub use render::{Report, Text, render, render_layered, reports};
pub use scheduling::{PERSISTENCE_TIMEOUT, Persistence, Prefixes, Scheduler, SelectionKey};
pub use schema::schema;
pub use value::check::compiled;
pub(crate) use value::nearest;
pub use virtual_router::{
    ChecksumForm, Condition, Consequence, Hook, OnCrash, Peer, Track, VirtualRoute, VirtualRouter, VirtualRule,
    VrrpVersion,
};

use diagnostic::Problems;
use toml::de::DeTable;

/// Reads a configuration. `Ok` comes with warnings only; `Err` holds every problem, warnings among them, in the order
/// of the file. `host_name` is the node's name where the file gives none.
pub fn parse(text: &str, host_name: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    parse_layered(text, "", host_name).map(|parsed| (parsed.config, parsed.warnings))
}

/// A configuration from two texts.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// What is probably not as it was meant.
    pub warnings: Vec<Diagnostic>,
    /// Names of services of the layer in whose place those of the file are.
    pub superseded: Vec<String>,
}

/// Reads a configuration, and behind it a layer of more services: a text with `[[service]]` tables alone. Where both have a service
/// of a name, that of the file counts, with a warning. Places in the layer are those of it in both texts, the layer
/// behind the file: [`render_layered`] tells them apart.
///
/// # Errors
/// Every problem, as [`parse`] has it.
pub fn parse_layered(text: &str, layer: &str, host_name: &str) -> Result<Parsed, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(vec![syntax(&errors, text)]);
    }
    // Behind as many blanks as the file has octets, everything in the layer is at its place in both.
    let layer = " ".repeat(if layer.is_empty() { 0 } else { text.len() }) + layer;
    let (more, errors) = DeTable::parse_recoverable(&layer);
    if !errors.is_empty() {
        return Err(vec![syntax(&errors, &layer)]);
    }
    let mut problems = Problems::default();
    let (draft, superseded) = file::read(&document, &more, host_name, &mut problems);
    rules::check(&draft, &mut problems);
    if problems.any_error() {
        return Err(problems.sorted());
    }
    let config = draft.into_config().expect("whatever cannot be read is reported as an error");
    Ok(Parsed { config, warnings: problems.sorted(), superseded })
}

/// TOML itself was not understood. Of its errors only the first in the file is told, for the others mostly follow from
/// it: one bracket left open makes a dozen.
fn syntax(errors: &[toml::de::Error], text: &str) -> Diagnostic {
    let place = |error: &toml::de::Error| error.span().unwrap_or(text.len()..text.len());
    let first = errors.iter().min_by_key(|error| place(error).start).expect("only called with errors");
    Diagnostic::new(Code::Syntax, first.message(), place(first))
        .help("keys and values are looked at once the file is TOML")
}
