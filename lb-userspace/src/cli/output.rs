//! Standard output: as a table or as JSON, coloured only for eyes, and no panic when nobody reads any more
//! (`fairway show flows | head`).

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;

use super::failure::{FAILURE, Failure};

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: fields are added, never renamed or removed, as long as `api` says the same
    Json,
}

/// Prints text.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // The reader has seen enough: nothing to complain about, and nothing more to do.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::verdict(0)),
        Err(error) => Err(Failure::new(FAILURE, format!("writing to standard output: {error}"))),
    }
}

/// Prints JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_string_pretty(value).expect("strings, numbers, lists and maps of strings only");
    line.push('\n');
    text(&line)
}

/// Prints to standard error what is not the answer itself.
pub fn aside(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes()); // if nobody reads it, nobody is to be told
}

/// Whether standard output is looked at by somebody who likes colours.
pub fn coloured() -> bool {
    io::stdout().is_terminal() && wants_colour()
}

/// The same for standard error.
pub fn coloured_aside() -> bool {
    io::stderr().is_terminal() && wants_colour()
}

/// <https://no-color.org>: set and not empty means no.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
