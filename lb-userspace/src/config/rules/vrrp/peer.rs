//! The rules of the peer link, the hook, and every program that is run.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{Draft, DraftHook, DraftPeer};

/// Networks that connect two nodes.
const MOST_PATHS: usize = 8;

pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    if let Some(peer) = &draft.peer {
        paths(peer, problems);
        own_addresses(peer, draft, problems);
    }
    if let Some(hook) = &draft.hook {
        hook_program(hook, problems);
    }
}

fn paths(peer: &DraftPeer, problems: &mut Problems) {
    let addresses = &peer.addresses;
    let items = addresses.items.iter();
    super::super::duplicates(items, Code::DuplicateAddress, "path", "list each path to the peer once", problems);
    if addresses.complete && addresses.items.is_empty() {
        let help = "list an address of the other node for each network both are on";
        problems.push(Diagnostic::new(Code::EmptyList, "the peer has no address", addresses.span).help(help));
    }
    if addresses.items.len() > MOST_PATHS {
        let message = format!("{} paths to the peer are more than {MOST_PATHS}", addresses.items.len());
        problems.push(Diagnostic::new(Code::TooMany, message, addresses.span).help("two or three are plenty"));
    }
}

fn own_addresses(peer: &DraftPeer, draft: &Draft, problems: &mut Problems) {
    for address in &peer.addresses.items {
        let held = draft.routers.iter().flat_map(|router| router.held()).find(|at| at.value.addr() == address.value);
        let own = draft.routers.iter().filter_map(|router| router.unicast_source.given());
        let own = own.into_iter().find(|source| source.value == address.value);
        let (why, span) = match (held, own) {
            (Some(held), _) => ("moves between the nodes", held.span),
            (None, Some(own)) => ("is this node's own", own.span),
            (None, None) => continue,
        };
        problems.push(
            Diagnostic::new(Code::OwnAddress, format!("the peer's address {} {why}", address.value), address.span)
                .note(span, "here")
                .help("list addresses that only the other node has"),
        );
    }
}

fn hook_program(hook: &DraftHook, problems: &mut Problems) {
    if let (true, Some(user)) = (hook.command.complete, hook.user.get()) {
        let command: Vec<String> = hook.command.items.iter().map(|argument| argument.value.clone()).collect();
        program(&command, user, hook.command.span, problems);
    }
}

/// A program is found without a shell, and runs as root only on purpose.
pub(in super::super) fn program(command: &[String], user: &str, span: Span, problems: &mut Problems) {
    match command.first() {
        None => problems.push(
            Diagnostic::new(Code::EmptyList, "the command is empty", span)
                .help("write program and arguments: [\"/usr/local/bin/check\", \"-v\"]"),
        ),
        Some(program) if !program.starts_with('/') => problems.push(
            Diagnostic::new(Code::BadProgram, format!("the program {program:?} is no absolute path"), span)
                .help("write its whole path: no shell looks for it, and nobody can put another in its way"),
        ),
        Some(_) => {}
    }
    if user == "root" {
        let help = "let a user of its own run it, unless it needs root's rights";
        problems.push(Diagnostic::new(Code::RunsAsRoot, "the program is run as root", span).help(help));
    }
}
