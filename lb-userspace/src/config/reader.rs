//! One table of the file beside its rows of the key table: finds unknown keys, keys of later versions and missing ones,
//! and turns what is there into typed values with their places. Never stops at a problem; whoever reads on gets
//! [`Field::Bad`] for what was reported.

use super::check::Octets;
use super::code::Code;
use super::diagnostic::{Diagnostic, Problems, Span};
use super::draft::{At, Field, List};
use super::keys::{Key, Kind, Presence, Support, Table};
use super::model::Word;
use super::quic::ServerId;
use super::value::{self, Converted, Fault};
use ipnet::IpNet;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table being read.
pub(super) struct TableReader<'a> {
    table: &'static Table,
    entries: Option<&'a DeTable<'a>>,
    /// Where problems of the whole table are shown.
    pub span: Span,
    /// Which keys were asked for: a bit for each, in the key table's order. There may be tens of thousands of tables.
    read: u128,
}

thread_local! {
    /// What the texts of defaults mean: most keys of most tables are not written.
    static DEFAULTS: RefCell<HashMap<&'static str, Rc<DeValue<'static>>>> = RefCell::default();
}

/// The value that the key table gives as a text.
fn default_value(text: &'static str) -> Rc<DeValue<'static>> {
    let parse = || Rc::new(DeValue::parse(text).expect("defaults of the key table are TOML").into_inner());
    DEFAULTS.with_borrow_mut(|defaults| defaults.entry(text).or_insert_with(parse).clone())
}

impl<'a> TableReader<'a> {
    /// Begins with the keys that are there: each must be known and of this version. Without `entries` the table was not
    /// written, and every key has its default.
    pub(super) fn new(
        table: &'static Table,
        entries: Option<&'a DeTable<'a>>,
        span: Span,
        problems: &mut Problems,
    ) -> Self {
        for (name, _) in entries.into_iter().flatten() {
            let key_span = Span::from(name.span());
            match table.key(name.get_ref()) {
                None => problems.push(unknown_key(table, name.get_ref(), key_span)),
                Some(key) if key.support == Support::Later => problems.push(not_yet(table, key, key_span)),
                Some(_) => {}
            }
        }
        Self { table, entries, span, read: 0 }
    }

    /// Ends: every key of the table must have been asked for, else the key table promises what nobody reads.
    pub(super) fn finish(self) {
        let unread = |(at, key): &(usize, &Key)| key.support == Support::Now && self.read & bit(*at) == 0;
        let forgotten = self.table.keys.iter().enumerate().find(unread).map(|(_, key)| key.name);
        debug_assert_eq!(forgotten, None, "a key of {} is not read", self.table.title());
    }

    /// The keys that the table may have.
    pub(super) fn keys(&self) -> &'static [Key] {
        self.table.keys
    }

    /// The place of a written key's value.
    pub(super) fn value_span(&self, name: &str) -> Option<Span> {
        self.written(name).map(|value| value.span().into())
    }

    /// The place of a list that is written and empty.
    pub(super) fn empty_list(&self, name: &str) -> Option<Span> {
        let is_empty = |value: &&Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|items| items.is_empty());
        self.written(name).filter(is_empty).map(|value| value.span().into())
    }

    pub(super) fn text(&mut self, name: &str, problems: &mut Problems) -> Field<String> {
        self.read(name, value::text, problems)
    }

    pub(super) fn path(&mut self, name: &str, problems: &mut Problems) -> Field<PathBuf> {
        self.read(name, value::path, problems)
    }

    pub(super) fn socket_address(&mut self, name: &str, problems: &mut Problems) -> Field<Option<SocketAddr>> {
        self.read(name, value::socket_address, problems)
    }

    pub(super) fn number(&mut self, name: &str, problems: &mut Problems) -> Field<u32> {
        self.read(name, value::number, problems)
    }

    /// A number whose range in the key table fits 16 bits.
    pub(super) fn small_number(&mut self, name: &str, problems: &mut Problems) -> Field<u16> {
        let narrow = |kind: &Kind, value: &DeValue<'_>| {
            value::number(kind, value).map(|number| u16::try_from(number).expect("the key's range fits 16 bits"))
        };
        self.read(name, narrow, problems)
    }

    pub(super) fn duration(&mut self, name: &str, problems: &mut Problems) -> Field<Duration> {
        self.read(name, value::duration, problems)
    }

    pub(super) fn choice<T: Word>(&mut self, name: &str, problems: &mut Problems) -> Field<T> {
        self.read(name, value::choice, problems)
    }

    pub(super) fn address(&mut self, name: &str, problems: &mut Problems) -> Field<IpAddr> {
        self.read(name, value::address, problems)
    }

    pub(super) fn flag(&mut self, name: &str, problems: &mut Problems) -> Field<bool> {
        self.read(name, value::vrrp::flag, problems)
    }

    pub(super) fn signed(&mut self, name: &str, problems: &mut Problems) -> Field<i32> {
        self.read(name, value::vrrp::signed, problems)
    }

    pub(super) fn positive(&mut self, name: &str, problems: &mut Problems) -> Field<f64> {
        self.read(name, value::vrrp::positive, problems)
    }

    pub(super) fn optional_name(&mut self, name: &str, problems: &mut Problems) -> Field<Option<String>> {
        self.read(name, value::vrrp::optional_name, problems)
    }

    pub(super) fn interface(&mut self, name: &str, problems: &mut Problems) -> Field<String> {
        self.read(name, value::vrrp::one_interface, problems)
    }

    pub(super) fn link_address(&mut self, name: &str, problems: &mut Problems) -> Field<IpAddr> {
        self.read(name, value::vrrp::link_address, problems)
    }

    pub(super) fn network(&mut self, name: &str, problems: &mut Problems) -> Field<IpNet> {
        self.read(name, value::vrrp::one_network, problems)
    }

    pub(super) fn share(&mut self, name: &str, problems: &mut Problems) -> Field<f64> {
        self.read(name, value::check::share, problems)
    }

    pub(super) fn regex(&mut self, name: &str, problems: &mut Problems) -> Field<String> {
        self.read(name, value::check::regex, problems)
    }

    pub(super) fn octets(&mut self, name: &str, problems: &mut Problems) -> Field<Octets> {
        self.read(name, value::check::octets, problems)
    }

    pub(super) fn server_id(&mut self, name: &str, problems: &mut Problems) -> Field<ServerId> {
        self.read(name, value::server_id, problems)
    }

    /// A number whose range in the key table fits 8 bits.
    pub(super) fn octet(&mut self, name: &str, problems: &mut Problems) -> Field<u8> {
        self.number(name, problems).map(|number| u8::try_from(number).expect("the key's range fits 8 bits"))
    }

    /// The readable items of a list of strings, and whether these are all of them.
    pub(super) fn whole_list<T>(
        &mut self,
        name: &str,
        convert: fn(&str) -> Converted<T>,
        problems: &mut Problems,
    ) -> List<T> {
        let before = problems.count();
        let items = self.list(name, convert, problems);
        List { items, complete: problems.count() == before, span: self.value_span(name).unwrap_or(self.span) }
    }

    /// The readable items of a list of strings.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        convert: fn(&str) -> Converted<T>,
        problems: &mut Problems,
    ) -> Vec<At<T>> {
        let key = self.mark_read(name);
        let Some(written) = self.written(name) else {
            self.report_missing(key, problems);
            return Vec::new();
        };
        let DeValue::Array(items) = written.get_ref() else {
            let fault = value::wrong_type(&key.kind, written.get_ref());
            problems.push(located(key, fault, written.span().into()));
            return Vec::new();
        };
        items.iter().filter_map(|item| list_item(key, item, convert, problems)).collect()
    }

    /// The table under a key.
    pub(super) fn table(&mut self, name: &str, problems: &mut Problems) -> TableReader<'a> {
        let key = self.mark_read(name);
        let Kind::Table(table) = key.kind else { panic!("`{name}` is no table in the key table") };
        match self.written(name).map(|value| (value.get_ref(), Span::from(value.span()))) {
            None => TableReader::new(table, None, self.span, problems),
            Some((DeValue::Table(entries), span)) => TableReader::new(table, Some(entries), span, problems),
            Some((other, span)) => {
                problems.push(wrong_table(key, table, other, span));
                TableReader::new(table, None, span, problems)
            }
        }
    }

    /// The table under a key, if it is written.
    pub(super) fn optional_table(&mut self, name: &str, problems: &mut Problems) -> Option<TableReader<'a>> {
        let written = self.written(name).is_some();
        let table = self.table(name, problems);
        written.then_some(table)
    }

    /// The tables under a key.
    pub(super) fn tables(&mut self, name: &str, problems: &mut Problems) -> Vec<TableReader<'a>> {
        self.tables_that(name, |_| true, problems)
    }

    /// The tables under a key that are `wanted`. What is wrong with others is no problem.
    pub(super) fn tables_that(
        &mut self,
        name: &str,
        mut wanted: impl FnMut(&DeTable<'_>) -> bool,
        problems: &mut Problems,
    ) -> Vec<TableReader<'a>> {
        let key = self.mark_read(name);
        let (table, one_will_do) = match key.kind {
            Kind::Tables(table) => (table, false),
            Kind::OneOrMore(table) => (table, true),
            _ => panic!("`{name}` is no list of tables in the key table"),
        };
        let Some(written) = self.written(name) else { return Vec::new() };
        if let (DeValue::Table(entries), true) = (written.get_ref(), one_will_do) {
            return vec![TableReader::new(table, Some(entries), written.span().into(), problems)];
        }
        let DeValue::Array(items) = written.get_ref() else {
            problems.push(wrong_table(key, table, written.get_ref(), written.span().into()));
            return Vec::new();
        };
        let mut readers = Vec::new();
        for item in items {
            let span = item.span().into();
            match item.get_ref() {
                DeValue::Table(entries) if wanted(entries) => {
                    readers.push(TableReader::new(table, Some(entries), span, problems));
                }
                DeValue::Table(_) => {}
                other => problems.push(wrong_table(key, table, other, span)),
            }
        }
        readers
    }

    fn written(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.and_then(|entries| entries.get(name))
    }

    fn mark_read(&mut self, name: &str) -> &'static Key {
        let table = self.table;
        let at = table.keys.iter().position(|key| key.name == name);
        let at = at.unwrap_or_else(|| panic!("`{name}` is not in the key table of {}", table.title()));
        self.read |= bit(at);
        &table.keys[at]
    }

    fn read<T>(
        &mut self,
        name: &str,
        convert: impl Fn(&Kind, &DeValue<'_>) -> Converted<T>,
        problems: &mut Problems,
    ) -> Field<T> {
        let key = self.mark_read(name);
        let Some(written) = self.written(name) else { return self.missing(key, convert, problems) };
        let span = Span::from(written.span());
        match convert(&key.kind, written.get_ref()) {
            Ok(value) => Field::Given(At { value, span }),
            Err(fault) => {
                problems.push(located(key, fault, span));
                Field::Bad
            }
        }
    }

    fn missing<T>(
        &self,
        key: &'static Key,
        convert: impl Fn(&Kind, &DeValue<'_>) -> Converted<T>,
        problems: &mut Problems,
    ) -> Field<T> {
        match key.presence {
            Presence::Required => {
                self.report_missing(key, problems);
                Field::Bad
            }
            Presence::Absent(_) => Field::Absent,
            Presence::Default(default) => match convert(&key.kind, &default_value(default)) {
                Ok(value) => Field::Given(At { value, span: self.span }),
                Err(fault) => panic!("the default of `{}` {}", key.name, fault.message),
            },
        }
    }

    fn report_missing(&self, key: &Key, problems: &mut Problems) {
        if matches!(key.presence, Presence::Required) {
            let message = format!("{} lacks the key `{}`", self.table.title(), key.name);
            problems.push(
                Diagnostic::new(Code::MissingKey, message, self.span)
                    .label(format!("no `{}` here", key.name))
                    .help(format!("`{}` is {}", key.name, key.kind.describe())),
            );
        }
    }
}

/// That of the key at a place of the key table.
const fn bit(at: usize) -> u128 {
    assert!(at < u128::BITS as usize, "a table has fewer than 128 keys");
    1 << at
}

fn not_yet(table: &Table, key: &Key, span: Span) -> Diagnostic {
    let help = "take it out: a key that does nothing would only seem to help";
    let path = if table.path.is_empty() { key.name.to_owned() } else { format!("{}.{}", table.path, key.name) };
    Diagnostic::new(Code::NotYet, format!("`{path}` is not in this version"), span).help(help)
}

fn unknown_key(table: &Table, name: &str, span: Span) -> Diagnostic {
    let help = match value::nearest(name, table.keys.iter().map(|key| key.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known = table.keys.iter().filter(|key| key.support == Support::Now);
            let known: Vec<String> = known.map(|key| format!("`{}`", key.name)).collect();
            format!("{} knows {}", table.title(), known.join(", "))
        }
    };
    Diagnostic::new(Code::UnknownKey, format!("unknown key `{name}` in {}", table.title()), span).help(help)
}

fn wrong_table(key: &Key, table: &Table, value: &DeValue<'_>, span: Span) -> Diagnostic {
    let help = match key.kind {
        Kind::Tables(_) => format!("begin each with its own header, `[[{}]]`", table.path),
        _ => format!("write it once, under the header `[{}]`", table.path),
    };
    located(key, value::wrong_type(&key.kind, value).help(help), span)
}

fn list_item<T>(
    key: &Key,
    item: &Spanned<DeValue<'_>>,
    convert: fn(&str) -> Converted<T>,
    problems: &mut Problems,
) -> Option<At<T>> {
    let span = Span::from(item.span());
    let converted = match item.get_ref().as_str() {
        Some(text) => convert(text),
        None => Err(Fault::new(
            Code::WrongType,
            format!("holds strings, not a value of type {}", item.get_ref().type_str()),
        )),
    };
    match converted {
        Ok(value) => Some(At { value, span }),
        Err(fault) => {
            problems.push(located(key, fault, span));
            None
        }
    }
}

fn located(key: &Key, fault: Fault, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(fault.code, format!("`{}` {}", key.name, fault.message), span);
    match fault.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
