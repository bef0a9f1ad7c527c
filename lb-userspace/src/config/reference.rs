//! The tables of `docs/config.md`, printed from the key table and the codes. Only the test that compares them with the
//! file uses this; with `FAIRWAY_BLESS=1` it writes them instead.

use super::code::Code;
use super::keys::{FILE, Key, Kind, Presence, Support, Table};
use std::fmt::Write;

const BEGIN: &str = "<!-- from the key table: begin -->\n";
const END: &str = "<!-- from the key table: end -->\n";

#[test]
fn the_reference_says_what_the_key_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("FAIRWAY_BLESS").is_some() {
        std::fs::write(path, expected).unwrap();
    } else {
        assert!(page == expected, "docs/config.md is not what the key table says: run this test with FAIRWAY_BLESS=1");
    }
}

fn tables() -> String {
    let mut out = String::new();
    children(&FILE, false, &mut out);
    out.push_str("\n## Codes\n\nA code never changes its meaning. `FW02xx` are warnings: the file is accepted.\n\n");
    out.push_str("| code | problem |\n|---|---|\n");
    for code in Code::ALL {
        writeln!(out, "| {} | {} |", code.as_str(), code.about()).unwrap();
    }
    out.push('\n');
    out
}

fn children(parent: &Table, later: bool, out: &mut String) {
    for key in parent.keys {
        let (header, table) = match key.kind {
            Kind::Table(table) | Kind::OneOrMore(table) => (format!("[{}]", table.path), table),
            Kind::Tables(table) => (format!("[[{}]]", table.path), table),
            _ => continue,
        };
        let later = later || key.support != Support::Now;
        let suffix = if later { " (not in this version)" } else { "" };
        write!(out, "\n## `{header}`{suffix}\n\n{}\n\n", table.about).unwrap();
        out.push_str("| key | holds | default | meaning | in this version |\n|---|---|---|---|---|\n");
        for key in
            table.keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Tables(_) | Kind::OneOrMore(_)))
        {
            row(key, out);
        }
        children(table, later, out);
    }
}

fn row(key: &Key, out: &mut String) {
    let default = match key.presence {
        Presence::Required => "(required)".to_owned(),
        Presence::Default(text) => format!("`{text}`"),
        Presence::Absent(words) => format!("({words})"),
    };
    let support = match key.support {
        Support::Now => "yes".to_owned(),
        Support::Later => "no, refused".to_owned(),
    };
    let about = match later_words(key) {
        Some(later) => format!("{} Not in this version: {later}.", key.about),
        None => key.about.to_owned(),
    };
    writeln!(out, "| `{}` | {} | {default} | {about} | {support} |", key.name, holds(key)).unwrap();
}

fn holds(key: &Key) -> String {
    match &key.kind {
        Kind::Choice(choices) => format!("`{}`", (choices.now)().join("`, `")),
        kind => kind.describe(),
    }
}

fn later_words(key: &Key) -> Option<String> {
    match &key.kind {
        Kind::Choice(choices) if !choices.later.is_empty() => Some(format!("`{}`", choices.later.join("`, `"))),
        _ => None,
    }
}
