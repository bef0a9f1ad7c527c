//! Services that were added while Fairway ran: a second file, of `[[service]]` tables alone, that is read behind the operator's.
//! Here is what can be done to it. Whether the two together make sense is for [`super::parse_layered`] to say: a layer holds
//! whatever was asked for, and is kept only if that is a valid configuration.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// What the file begins with.
const HEAD: &str =
    "# Services added at run time (`fairway service`). Fairway writes this file; change it by its commands.\n\n";
/// Keys that are written first, for whoever reads it.
const SERVICE_FIRST: [&str; 4] = ["name", "listen", "forwarding", "scheduler"];
/// The same of a backend.
const BACKEND_FIRST: [&str; 3] = ["name", "address", "port"];

/// The services, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// As in a file, under `[[service]]`.
    #[serde(default, rename = "service")]
    services: Vec<Table>,
}

/// What is to be done to the services of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerOrder {
    /// One more.
    Add(Change),
    /// Another one of that name.
    Edit(Change),
    /// Without that one.
    Remove {
        /// Its name.
        name: String,
    },
    /// None at all.
    Clear,
}

/// A service, or what changes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The service.
    pub name: String,
    /// Keys of `[[service]]` with their values; `check.interval` is a key of a table in it.
    #[serde(default)]
    pub set: Table,
    /// Keys that are to have their defaults.
    #[serde(default)]
    pub unset: Vec<String>,
    /// `[[service.backend]]` tables. One that is there already (by `name`, or else by `address`, and `port` if given) gets these keys
    /// besides those it has.
    #[serde(default)]
    pub backends: Vec<Table>,
    /// Names or addresses, also ADDRESS:PORT, of backends that go.
    #[serde(default)]
    pub remove_backends: Vec<String>,
}

impl Layer {
    /// What a text holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The text: what to paste into a configuration file. Empty if there are none.
    pub fn text(&self) -> String {
        self.services.iter().map(service_text).collect::<Vec<_>>().join("\n")
    }

    /// The same with a word to whoever opens the file: what is kept, and what problems point into.
    pub fn document(&self) -> String {
        if self.is_empty() { String::new() } else { format!("{HEAD}{}", self.text()) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The services as they were asked for.
    pub fn services(&self) -> &[Table] {
        &self.services
    }

    /// Whether one has this name.
    pub fn has(&self, name: &str) -> bool {
        self.services.iter().any(|service| called(service, name))
    }

    /// Without those of these names.
    pub fn without(mut self, names: &[String]) -> Self {
        self.services.retain(|service| !names.iter().any(|name| called(service, name)));
        self
    }

    /// What follows from an order. `file` is what the other file is called, `in_file` whether it has a service of a name.
    ///
    /// # Errors
    /// When it cannot be carried out, in the words for whoever gave it.
    pub fn after(&self, order: &LayerOrder, file: &str, in_file: impl Fn(&str) -> bool) -> Result<Self, String> {
        let mut next = self.clone();
        let known = |name: &str| match (self.has(name), in_file(name)) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("service {name} is in {file}: change it there, and `fairway reload`")),
            (false, false) => Err(format!("no service called {name} was added at run time")),
        };
        match order {
            LayerOrder::Add(change) => {
                if self.has(&change.name) {
                    return Err(format!("service {0} is there; `fairway service edit {0}` changes it", change.name));
                }
                if in_file(&change.name) {
                    return Err(format!("service {} is in {file}: take another name, or change it there", change.name));
                }
                next.services.push(change.added()?);
            }
            LayerOrder::Edit(change) => {
                known(&change.name)?;
                let service = next.services.iter_mut().find(|service| called(service, &change.name));
                change.apply(service.expect("it is known"))?;
            }
            LayerOrder::Remove { name } => {
                known(name)?;
                next.services.retain(|service| !called(service, name));
            }
            LayerOrder::Clear => next.services.clear(),
        }
        Ok(next)
    }
}

impl Change {
    fn added(&self) -> Result<Table, String> {
        let mut service = Table::from_iter([("name".to_owned(), Value::from(self.name.as_str()))]);
        let Self { set, backends, .. } = self;
        set.iter().try_for_each(|(path, value)| put(&mut service, path, value.clone()))?;
        backends.iter().try_for_each(plain_keys)?;
        if !backends.is_empty() {
            let backends = backends.iter().cloned().map(Value::Table).collect();
            service.insert("backend".to_owned(), Value::Array(backends));
        }
        Ok(service)
    }

    fn apply(&self, service: &mut Table) -> Result<(), String> {
        self.unset.iter().try_for_each(|path| take(service, path))?;
        self.set.iter().try_for_each(|(path, value)| put(service, path, value.clone()))?;
        let mut backends = match service.remove("backend") {
            None => Vec::new(),
            Some(Value::Array(backends)) => backends,
            Some(_) => return Err("its `backend` is no list".to_owned()),
        };
        for name in &self.remove_backends {
            let at = only(&backends, |backend| is_called(backend, name), name)?;
            let at = at.ok_or_else(|| format!("service {} has no backend {name}", self.name))?;
            backends.remove(at);
        }
        for change in &self.backends {
            plain_keys(change)?;
            match only(&backends, |backend| is_same(backend, change), &label(change))? {
                Some(at) => merge(&mut backends[at], change),
                None => backends.push(Value::Table(change.clone())),
            }
        }
        if !backends.is_empty() {
            service.insert("backend".to_owned(), Value::Array(backends));
        }
        Ok(())
    }
}

fn called(service: &Table, name: &str) -> bool {
    service.get("name").and_then(Value::as_str) == Some(name)
}

/// Puts a value under a key, or under a key of a table in it.
fn put(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    plain(path.split('.').next().unwrap_or_default())?;
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((head, rest)) => match table.entry(head.to_owned()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => put(inner, rest, value)?,
            _ => return Err(format!("`{head}` is no table: set all of it")),
        },
    }
    Ok(())
}

fn take(table: &mut Table, path: &str) -> Result<(), String> {
    let missing = || format!("`{path}` is not set");
    match path.split_once('.') {
        None => table.remove(path).map(drop).ok_or_else(missing),
        Some((head, rest)) => match table.get_mut(head) {
            Some(Value::Table(inner)) => take(inner, rest),
            Some(_) | None => Err(missing()),
        },
    }
}

/// A key is written without quotes.
fn plain(key: &str) -> Result<(), String> {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_plain { Ok(()) } else { Err(format!("{key:?} is no key")) }
}

fn plain_keys(table: &Table) -> Result<(), String> {
    table.keys().try_for_each(|key| plain(key))
}

/// The place of the one that is meant; an error if several are.
fn only(backends: &[Value], is_meant: impl Fn(&Table) -> bool, name: &str) -> Result<Option<usize>, String> {
    let meant = |backend: &Value| backend.as_table().is_some_and(&is_meant);
    let mut places = backends.iter().enumerate().filter(|(_, backend)| meant(backend)).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(_), Some(_)) => Err(format!("{name} may be several backends: say which by its name")),
        (first, _) => Ok(first),
    }
}

/// What a backend is called: its address if it has no name.
fn label(backend: &Table) -> String {
    let text = |key: &str| backend.get(key).and_then(Value::as_str);
    text("name").or_else(|| text("address")).unwrap_or_default().to_owned()
}

/// Whether a backend is meant by a name, an address, or an address and a port.
fn is_called(backend: &Table, name: &str) -> bool {
    let address = backend.get("address").and_then(Value::as_str).unwrap_or_default();
    let with_port = backend.get("port").map(|port| match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    });
    label(backend) == name || address == name || with_port.is_some_and(|it| it == name)
}

/// Whether a change is about this backend.
fn is_same(backend: &Table, change: &Table) -> bool {
    match change.get("name") {
        Some(_) => label(backend) == label(change),
        None => {
            backend.get("address") == change.get("address")
                && change.get("port").is_none_or(|port| backend.get("port") == Some(port))
        }
    }
}

fn merge(backend: &mut Value, change: &Table) {
    if let Value::Table(backend) = backend {
        backend.extend(change.clone());
    }
}

fn service_text(service: &Table) -> String {
    let is_list_of_tables = |value: &Value| matches!(value, Value::Array(items) if items.iter().all(Value::is_table));
    let backends = service.get("backend").filter(|it| is_list_of_tables(it)).and_then(Value::as_array);
    let plain = service.iter().filter(|(key, _)| backends.is_none() || *key != "backend");
    let mut text = format!("[[service]]\n{}", lines(plain, &SERVICE_FIRST));
    for backend in backends.into_iter().flatten().filter_map(Value::as_table) {
        text += &format!("\n[[service.backend]]\n{}", lines(backend.iter(), &BACKEND_FIRST));
    }
    text
}

/// A line a key, some first.
fn lines<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, first: &[&str]) -> String {
    let mut entries: Vec<_> = entries.collect();
    let place = |key: &str| first.iter().position(|it| *it == key).unwrap_or(first.len());
    entries.sort_by_key(|(key, _)| place(key));
    entries.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "\
[[service]]
name = \"web\"
listen = [\"tcp://203.0.113.10:80\"]
scheduler = \"wlc\"
check = { interval = \"5s\", type = \"http\" }
quorum = 1

[[service.backend]]
address = \"10.0.0.1\"
weight = 5

[[service.backend]]
name = \"two\"
address = \"10.0.0.2\"
port = 8080
";

    fn layer(text: &str) -> Layer {
        Layer::read(text).unwrap()
    }

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    fn change(set: &str, backends: &[&str]) -> Change {
        let backends = backends.iter().map(|text| table(text)).collect();
        Change { name: "web".to_owned(), set: table(set), backends, ..Change::default() }
    }

    /// With a file `f` that has the service `filed`.
    fn after(before: &Layer, order: &LayerOrder) -> Result<Layer, String> {
        before.after(order, "f", |name| name == "filed")
    }

    fn edited(edit: Change) -> Result<String, String> {
        after(&layer(WEB), &LayerOrder::Edit(edit)).map(|layer| layer.text())
    }

    #[test]
    fn a_layer_is_written_as_a_person_would_and_read_back_the_same() {
        let two = layer(&format!("{WEB}\n[[service]]\nname = \"b\"\n"));
        assert_eq!(layer(WEB).text(), WEB);
        assert_eq!(layer(&two.text()), two);
        assert_eq!(layer(&two.document()), two);
        assert_eq!(Layer::default().document(), "");
        assert_eq!(layer(""), Layer::default());
        assert!(Layer::read("[node]\n").is_err());
        assert!(Layer::read("[[service]\n").is_err());
    }

    #[test]
    fn a_service_is_added_with_all_it_has() {
        let add = change(
            "listen = [\"tcp://203.0.113.10:80\"]\nscheduler = \"wlc\"\nquorum = 1\n\"check.type\" = \"http\"\n\"check.interval\" = \"5s\"\n",
            &["address = \"10.0.0.1\"\nweight = 5", "address = \"10.0.0.2\"\nname = \"two\"\nport = 8080"],
        );
        assert_eq!(after(&Layer::default(), &LayerOrder::Add(add)).unwrap().text(), WEB);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_keeps_the_rest() {
        let edit = Change {
            unset: vec!["quorum".to_owned()],
            ..change("scheduler = \"rr\"\n\"check.interval\" = \"9s\"", &[])
        };
        let expected = WEB.replace("wlc", "rr").replace("5s", "9s").replace("quorum = 1\n", "");
        assert_eq!(edited(edit), Ok(expected));
    }

    #[test]
    fn backends_are_known_by_name_or_address_and_new_ones_are_added() {
        let edit = |backend: &str| edited(change("", &[backend]));
        assert_eq!(edit("address = \"10.0.0.1\"\nweight = 0"), Ok(WEB.replace("weight = 5", "weight = 0")));
        let by_name = edit("name = \"two\"\naddress = \"10.0.0.9\"").unwrap();
        assert_eq!(by_name, WEB.replace("10.0.0.2", "10.0.0.9"));
        assert_eq!(edit("address = \"10.0.0.2\"\nport = 8080\nweight = 3"), Ok(format!("{WEB}weight = 3\n")));
        let another = "[[service.backend]]\naddress = \"10.0.0.2\"\nport = 8081\n";
        assert_eq!(edit("address = \"10.0.0.2\"\nport = 8081"), Ok(format!("{WEB}\n{another}")));
    }

    #[test]
    fn backends_are_removed_by_any_of_their_names() {
        let (first, second) = WEB.split_once("\n[[service.backend]]\nname").unwrap();
        let second = format!("\n[[service.backend]]\nname{second}");
        for name in ["two", "10.0.0.2", "10.0.0.2:8080"] {
            let edit = Change { remove_backends: vec![name.to_owned()], ..change("", &[]) };
            assert_eq!(edited(edit).as_deref(), Ok(first), "{name}");
        }
        let edit = Change { remove_backends: vec!["10.0.0.1".to_owned()], ..change("", &[]) };
        let (head, _) = first.split_once("\n[[service.backend]]").unwrap();
        assert_eq!(edited(edit), Ok(format!("{head}{second}")));
    }

    #[test]
    fn services_are_removed_one_by_one_or_all() {
        let two = layer(&format!("{WEB}\n[[service]]\nname = \"b\"\n"));
        assert_eq!(after(&two, &LayerOrder::Remove { name: "b".to_owned() }), Ok(layer(WEB)));
        assert_eq!(after(&two, &LayerOrder::Clear), Ok(Layer::default()));
        assert_eq!(two.without(&["b".to_owned()]), layer(WEB));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_reason() {
        let text = |text: &str| vec![text.to_owned()];
        let named = |name: &str| Change { name: name.to_owned(), ..Change::default() };
        let remove = |name: &str| LayerOrder::Remove { name: name.to_owned() };
        let twins = "\n[[service.backend]]\naddress = \"10.0.0.2\"\nport = 1\n";
        let both = layer(&format!("{WEB}{twins}"));
        for (before, order, why) in [
            (layer(WEB), LayerOrder::Add(named("web")), "service web is there"),
            (layer(WEB), LayerOrder::Add(named("filed")), "service filed is in f: take another name"),
            (layer(WEB), LayerOrder::Edit(named("filed")), "service filed is in f: change it there"),
            (layer(WEB), LayerOrder::Edit(named("nosuch")), "no service called nosuch was added at run time"),
            (layer(WEB), remove("filed"), "service filed is in f: change it there"),
            (layer(WEB), remove("nosuch"), "no service called nosuch was added at run time"),
            (layer(WEB), LayerOrder::Edit(Change { unset: text("udp"), ..named("web") }), "`udp` is not set"),
            (layer(WEB), LayerOrder::Edit(change("\"quorum.x\" = 1", &[])), "`quorum` is no table"),
            (layer(WEB), LayerOrder::Edit(change("\"a b\" = 1", &[])), "\"a b\" is no key"),
            (layer(WEB), LayerOrder::Edit(change("\"\" = 1", &[])), "\"\" is no key"),
            (layer(WEB), LayerOrder::Edit(change("", &["\"x]\" = 1"])), "\"x]\" is no key"),
            (
                layer(WEB),
                LayerOrder::Edit(Change { remove_backends: text("10.0.0.9"), ..named("web") }),
                "service web has no backend 10.0.0.9",
            ),
            (
                both.clone(),
                LayerOrder::Edit(change("", &["address = \"10.0.0.2\""])),
                "10.0.0.2 may be several backends",
            ),
            (
                both,
                LayerOrder::Edit(Change { remove_backends: text("10.0.0.2"), ..named("web") }),
                "10.0.0.2 may be several backends",
            ),
        ] {
            let refused = after(&before, &order).unwrap_err();
            assert!(refused.starts_with(why), "{order:?}: {refused}");
        }
    }

    #[test]
    fn what_is_asked_for_cannot_leave_its_place_in_the_text() {
        let add = change("scheduler = \"x\\\"\\n[node]\\nname = \\\"y\"", &[]);
        let layer = after(&Layer::default(), &LayerOrder::Add(add)).unwrap();
        assert_eq!(Layer::read(&layer.text()), Ok(layer));
    }
}
