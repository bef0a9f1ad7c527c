//! `fairway service`: services beside the configuration file, for scripts that called ipvsadm. What is typed becomes keys of
//! `[[service]]` and `[[service.backend]]`; whether they make sense is for the daemon to say, as of a file.

use clap::{Args, Subcommand};
use toml::{Table, Value};

use super::Asking;
use super::failure::{BAD_INPUT, Failure};
use super::output::{self, Output};
use super::plan;
use super::table::{Cell, Table as Columns};
use crate::config::Change;
use crate::controller::view::{PlanReport, RuntimeServices};

/// What can be done with services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service (ipvsadm -A and -a)
    Add(Added),
    /// Change a service that was added, and its backends (ipvsadm -E, -a, -e, -d)
    Edit(Edited),
    /// Remove a service that was added (ipvsadm -D)
    Remove(Removed),
    /// Remove all services that were added (ipvsadm -C)
    Clear(Asking),
    /// Show the services that were added (ipvsadm -S)
    List(Listed),
}

/// A new service.
#[derive(Args, Debug)]
pub struct Added {
    /// Its name
    name: String,
    /// What it listens on, as tcp://ADDRESS:PORT; may be given more than once
    #[arg(long, value_name = "LISTENER", required = true)]
    listen: Vec<String>,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    asking: Asking,
}

/// What changes of a service.
#[derive(Args, Debug)]
pub struct Edited {
    /// Its name
    name: String,
    /// What it listens on from now on; may be given more than once
    #[arg(long, value_name = "LISTENER")]
    listen: Vec<String>,
    #[command(flatten)]
    keys: Keys,
    /// A key that is to have its default again; may be given more than once
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Name, address or ADDRESS:PORT of a backend that goes; may be given more than once
    #[arg(long, value_name = "BACKEND")]
    remove_backend: Vec<String>,
    #[command(flatten)]
    asking: Asking,
}

/// Keys of a service.
#[derive(Args, Debug, Default)]
pub struct Keys {
    /// direct, nat, full-nat or tunnel
    #[arg(long, value_name = "METHOD")]
    forwarding: Option<String>,
    /// How backends are chosen; names of IPVS are taken too
    #[arg(long, value_name = "SCHEDULER")]
    scheduler: Option<String>,
    /// The virtual router that it follows
    #[arg(long, value_name = "NAME")]
    vrrp: Option<String>,
    /// A backend, as ADDRESS[:PORT][,KEY=VALUE...], for example 10.0.0.1:8080,weight=5; may be given more than once. One that is
    /// there is changed
    #[arg(long, value_name = "BACKEND", value_parser = backend)]
    backend: Vec<Table>,
    /// Any other key of [[service]], as KEY=VALUE, for example idle_timeout=5m or check.type=http; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, Value)>,
}

/// One service.
#[derive(Args, Debug)]
pub struct Removed {
    /// Its name
    name: String,
    #[command(flatten)]
    asking: Asking,
}

/// How the services are shown.
#[derive(Args, Debug)]
pub struct Listed {
    /// As a part of a configuration file, to be pasted there
    #[arg(long)]
    toml: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Gives the order.
pub async fn order(command: &ServiceCommand) -> Result<(), Failure> {
    let nothing: Option<Change> = None;
    let (action, change, asking) = match command {
        ServiceCommand::Add(options) => ("add", Some(options.change()?), &options.asking),
        ServiceCommand::Edit(options) => ("edit", Some(options.change()?), &options.asking),
        ServiceCommand::Remove(options) => {
            let change = Change { name: options.name.clone(), ..Change::default() };
            ("remove", Some(change), &options.asking)
        }
        ServiceCommand::Clear(asking) => ("clear", nothing, asking),
        ServiceCommand::List(options) => return list(options).await,
    };
    let plan: PlanReport = asking.client().post(&format!("/api/v1/service/{action}"), &change).await?;
    plan::print(asking, &plan, "did")
}

async fn list(options: &Listed) -> Result<(), Failure> {
    let services: RuntimeServices = options.asking.client().get("/api/v1/service").await?;
    if let Some(why) = &services.not_in_force {
        output::aside(&format!("NOT IN FORCE: they do not go with the configuration file:\n{}\n", why.trim_end()));
    }
    match (options.toml, options.asking.output) {
        (true, _) => output::text(&services.toml),
        (false, Output::Json) => output::json(&services),
        (false, Output::Table) => output::text(&columns(&services).render("", output::coloured())),
    }
}

fn columns(services: &RuntimeServices) -> Columns {
    let mut table = Columns::new(&["SERVICE", "LISTEN", "FORWARDING", "SCHEDULER", "BACKENDS", "OTHER KEYS"]);
    for service in &services.services {
        let text = |key: &str| service.get(key).map_or_else(|| "-".to_owned(), plain);
        let known = ["name", "listen", "forwarding", "scheduler", "backend"];
        let others = service.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        let others: Vec<String> = others.map(|(key, value)| format!("{key} = {value}")).collect();
        table.row([
            text("name").into(),
            text("listen").into(),
            text("forwarding").into(),
            text("scheduler").into(),
            service.get("backend").map_or_else(|| "none".to_owned(), backends).into(),
            Cell::from(others.join(", ")),
        ]);
    }
    table
}

/// A value without quotes and brackets.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn backends(value: &Value) -> String {
    let one = |backend: &Table| {
        let address = backend.get("address").map(plain).unwrap_or_default();
        let port = backend.get("port").map_or_else(String::new, |port| format!(":{port}"));
        let address = if address.contains(':') && !port.is_empty() { format!("[{address}]") } else { address };
        let weight = backend.get("weight").map_or_else(String::new, |weight| format!(" ({weight})"));
        format!("{address}{port}{weight}")
    };
    value.as_array().into_iter().flatten().filter_map(Value::as_table).map(one).collect::<Vec<_>>().join(", ")
}

impl Added {
    fn change(&self) -> Result<Change, Failure> {
        Ok(Change { name: self.name.clone(), set: self.keys.set(&self.listen)?, ..self.keys.backends() })
    }
}

impl Edited {
    fn change(&self) -> Result<Change, Failure> {
        let (name, set) = (self.name.clone(), self.keys.set(&self.listen)?);
        let (unset, remove_backends) = (self.unset.clone(), self.remove_backend.clone());
        let change = Change { name: name.clone(), set, unset, remove_backends, ..self.keys.backends() };
        if change == (Change { name, ..Change::default() }) {
            return Err(Failure::new(BAD_INPUT, "say what is to change: --backend, --scheduler, --set KEY=VALUE, ..."));
        }
        Ok(change)
    }
}

impl Keys {
    fn backends(&self) -> Change {
        Change { backends: self.backend.clone(), ..Change::default() }
    }

    fn set(&self, listen: &[String]) -> Result<Table, Failure> {
        let words = [("forwarding", &self.forwarding), ("scheduler", &self.scheduler), ("vrrp", &self.vrrp)];
        let words = words.into_iter().filter_map(|(key, word)| Some((key.to_owned(), Value::from(word.as_deref()?))));
        let listen = (!listen.is_empty()).then(|| ("listen".to_owned(), Value::from(listen.to_vec())));
        let mut set = Table::new();
        for (key, value) in listen.into_iter().chain(words).chain(self.set.iter().cloned()) {
            if set.insert(key.clone(), value).is_some() {
                return Err(Failure::new(BAD_INPUT, format!("`{key}` is set twice")));
            }
        }
        Ok(set)
    }
}

/// `KEY=VALUE`.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, text) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value(text.trim())))
}

/// As TOML has it, or else as a string, so that `5m`, `wlc` and addresses need no quotes.
fn value(text: &str) -> Value {
    let of_toml = toml::from_str::<Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1);
    match of_toml.and_then(|mut table| table.remove("value")) {
        Some(Value::Datetime(_)) | None => Value::from(text),
        Some(value) => value,
    }
}

/// `ADDRESS[:PORT][,KEY=VALUE...]`.
fn backend(text: &str) -> Result<Table, String> {
    let mut parts = text.split(',');
    let (address, port) = address(parts.next().unwrap_or_default())?;
    let mut table = Table::from_iter([("address".to_owned(), Value::from(address))]);
    table.extend(port.map(|port| ("port".to_owned(), Value::from(i64::from(port)))));
    for part in parts {
        let (key, value) = setting(part)?;
        // A name of digits is a name.
        let value = if key == "name" { Value::from(plain(&value)) } else { value };
        if table.insert(key.clone(), value).is_some() {
            return Err(format!("`{key}` is there twice"));
        }
    }
    Ok(table)
}

/// An address, with or without a port.
fn address(text: &str) -> Result<(String, Option<u16>), String> {
    if let Ok(with_port) = text.parse::<std::net::SocketAddr>() {
        return Ok((with_port.ip().to_string(), Some(with_port.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed: Result<std::net::IpAddr, _> = bare.parse();
    let message = || format!("`{text}` is neither ADDRESS nor ADDRESS:PORT, as 10.0.0.1:8080 or [2001:db8::1]:8080");
    parsed.map(|address| (address.to_string(), None)).map_err(|_| message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn change(arguments: &[&str]) -> Result<Change, String> {
        let cli = Cli::try_parse_from([&["fairway", "service"], arguments].concat()).map_err(|it| it.to_string())?;
        let crate::cli::Command::Service(command) = cli.command else { panic!("{arguments:?}") };
        let change = match command {
            ServiceCommand::Add(options) => options.change(),
            ServiceCommand::Edit(options) => options.change(),
            other => panic!("{other:?}"),
        };
        change.map_err(|failure| failure.parts().1.to_owned())
    }

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_typed_becomes_keys_of_the_configuration() {
        let add = change(&[
            "add",
            "web",
            "--listen",
            "tcp://203.0.113.10:80",
            "--listen",
            "udp://203.0.113.10:53",
            "--forwarding",
            "nat",
            "--scheduler",
            "wlc",
            "--backend",
            "10.0.0.1:8080,weight=5,name=7",
            "--backend",
            "10.0.0.2",
            "--set",
            "idle_timeout=5m",
            "--set",
            "check.type=http",
            "--set",
            "quorum=2",
            "--set",
            "source_port=true",
            "--set",
            "access={ allow = [\"10.0.0.0/8\"] }",
        ]);
        let expected = Change {
            name: "web".to_owned(),
            set: table(
                "listen = [\"tcp://203.0.113.10:80\", \"udp://203.0.113.10:53\"]\nforwarding = \"nat\"\nscheduler = \"wlc\"\n\
                 idle_timeout = \"5m\"\n\"check.type\" = \"http\"\nquorum = 2\nsource_port = true\naccess = { allow = [\"10.0.0.0/8\"] }",
            ),
            backends: vec![
                table("address = \"10.0.0.1\"\nport = 8080\nweight = 5\nname = \"7\""),
                table("address = \"10.0.0.2\""),
            ],
            ..Change::default()
        };
        assert_eq!(add, Ok(expected));
    }

    #[test]
    fn an_edit_also_takes_away() {
        let edit = change(&["edit", "web", "--unset", "quorum", "--remove-backend", "10.0.0.1:80"]);
        let (unset, remove_backends) = (vec!["quorum".to_owned()], vec!["10.0.0.1:80".to_owned()]);
        assert_eq!(edit, Ok(Change { name: "web".to_owned(), unset, remove_backends, ..Change::default() }));
    }

    #[test]
    fn backends_are_addresses_with_and_without_ports_of_either_family() {
        for (text, expected) in [
            ("10.0.0.1", "address = \"10.0.0.1\""),
            ("10.0.0.1:80", "address = \"10.0.0.1\"\nport = 80"),
            ("2001:db8::1", "address = \"2001:db8::1\""),
            ("[2001:db8::1]", "address = \"2001:db8::1\""),
            ("[2001:db8::1]:80,weight=0", "address = \"2001:db8::1\"\nport = 80\nweight = 0"),
        ] {
            assert_eq!(backend(text), Ok(table(expected)), "{text}");
        }
        for text in ["", "web1", "10.0.0.1:", "10.0.0.1:99999", "10.0.0.1,weight", "10.0.0.1,weight=1,weight=2"] {
            assert!(backend(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_need_no_quotes() {
        for (text, expected) in [
            ("5m", Value::from("5m")),
            ("5", Value::from(5)),
            ("0.5", Value::from(0.5)),
            ("10.0.0.1", Value::from("10.0.0.1")),
            ("12:30", Value::from("12:30")),
            ("\"5\"", Value::from("5")),
            ("a\nb = 1", Value::from("a\nb = 1")),
            ("1\nb = 1", Value::from("1\nb = 1")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_says_nothing_or_the_same_twice_is_refused() {
        assert!(change(&["add", "web"]).is_err());
        assert!(change(&["edit", "web"]).unwrap_err().starts_with("say what is to change"));
        let twice = change(&["edit", "web", "--scheduler", "wlc", "--set", "scheduler=rr"]);
        assert_eq!(twice, Err("`scheduler` is set twice".to_owned()));
    }

    #[test]
    fn what_was_added_is_shown_in_columns() {
        let services = vec![table(
            "name = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]\nquorum = 1\nbackend = [{ address = \"10.0.0.1\", port = 80, weight = 5 }, { address = \"::1\" }]",
        )];
        let shown = columns(&RuntimeServices { services, ..RuntimeServices::default() }).render("", false);
        let expected = "\
SERVICE  LISTEN                 FORWARDING  SCHEDULER  BACKENDS              OTHER KEYS
web      tcp://203.0.113.10:80  -           -          10.0.0.1:80 (5), ::1  quorum = 1
";
        assert_eq!(shown, expected);
    }
}
