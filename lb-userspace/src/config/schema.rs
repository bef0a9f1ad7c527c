//! The JSON schema of the file, for editors (`fairway schema`), printed from the key table. It says what a value by
//! itself may be; the rules between values are beyond it, so a file that fits the schema may still be refused. Keys of
//! later versions are left out: an editor marks them, as `check` does.

use super::keys::{FILE, Key, Kind, Presence, Support, Table};
use super::value::MAX_NAME;
use serde_json::{Map, Value, json};

/// The schema.
pub fn schema() -> Value {
    let mut schema = table(&FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Fairway configuration");
    schema
}

fn table(table: &Table) -> Value {
    let known = || table.keys.iter().filter(|key| key.support == Support::Now);
    let properties: Map<String, Value> = known().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        known().filter(|key| matches!(key.presence, Presence::Required)).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": table.about,
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn property(key: &Key) -> Value {
    let mut property = kind(&key.kind);
    if matches!(key.kind, Kind::Table(_)) {
        return property;
    }
    property["description"] = json!(key.about);
    match key.presence {
        Presence::Required => {}
        Presence::Default(text) => property["default"] = default(text),
        Presence::Absent(words) => property["description"] = json!(format!("{} Default: {words}.", key.about)),
    }
    property
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text(max) => json!({"type": "string", "minLength": 1, "maxLength": max}),
        Kind::Name => json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
        Kind::FileName => json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": "^[^/]+$"}),
        Kind::Path(max) => json!({"type": "string", "pattern": "^/", "maxLength": max}),
        Kind::SocketAddress | Kind::Duration { .. } => json!({"type": "string"}),
        Kind::Address | Kind::LinkAddress => {
            json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
        }
        Kind::Port => json!({"type": "integer", "minimum": 1, "maximum": u16::MAX}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::PowerOfTwo { min, max } => json!({"enum": powers(*min, *max)}),
        Kind::Choice(choices) => json!({"enum": choices.taken()}),
        Kind::Listeners => json!({
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "pattern": r"^(tcp|udp)://(\[[0-9a-fA-F:.]+\]|[0-9.]+):([0-9]{1,5}|\*)$"},
        }),
        Kind::Networks | Kind::Interfaces | Kind::Addresses | Kind::LinkAddresses => {
            json!({"type": "array", "items": {"type": "string"}})
        }
        Kind::VirtualAddresses | Kind::Command => json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Signed { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Positive => json!({"type": "number", "exclusiveMinimum": 0}),
        Kind::OptionalName => json!({"type": "string", "maxLength": MAX_NAME}),
        Kind::Interface | Kind::Network => json!({"type": "string"}),
        Kind::Regex => json!({"type": "string", "format": "regex"}),
        Kind::Share => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Kind::Headers => json!({"type": "array", "items": {"type": "string", "pattern": "^[^: ]+:"}}),
        Kind::StatusRanges => {
            json!({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"}})
        }
        Kind::Steps => {
            json!({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^(send|expect|match) "}})
        }
        Kind::Table(inner) => table(inner),
        Kind::OneOrMore(inner) => json!({"oneOf": [table(inner), {"type": "array", "items": table(inner)}]}),
        Kind::Tables(inner) => json!({"type": "array", "items": table(inner)}),
    }
}

fn powers(min: u32, max: u32) -> Vec<u32> {
    (0..u32::BITS).map(|exponent| 1 << exponent).filter(|power| (min..=max).contains(power)).collect()
}

fn default(text: &str) -> Value {
    let value: toml::Value = format!("value = {text}")
        .parse::<toml::Table>()
        .expect("defaults of the key table are TOML")
        .remove("value")
        .expect("it was just written");
    serde_json::to_value(value).expect("defaults are strings, numbers and lists")
}
