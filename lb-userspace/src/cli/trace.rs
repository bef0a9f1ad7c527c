//! `fairway trace`: what the tracing program says of matching packets, as it comes in, until the time is over or Ctrl-C.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Asking;
use super::failure::{BAD_INPUT, FAILURE, Failure};
use super::output::{self, Output};
use super::pcap::Pcap;
use super::units::plural;
use crate::runtime::request::{TraceEvent, TraceQuery};

const FILTER_HELP: &str = "what to trace: `host ADDRESS`, `port N`, `tcp`, `udp`, `sctp`, `esp`, `ah`, `icmp`, each at most once, all of \
                           which must hold; `and` between them may be left out";

/// What `trace` takes.
#[derive(Args, Debug)]
pub struct TraceOptions {
    /// What to trace: `host ADDRESS`, `port N`, `tcp`, `udp`, `sctp`, `esp`, `ah`, `icmp`; joined, all must hold
    #[arg(required = true, value_name = "FILTER")]
    filter: Vec<String>,
    /// Also write the packets, as they came in, to a file for tcpdump and wireshark
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    #[command(flatten)]
    asking: Asking,
}

/// Traces.
pub async fn trace(options: &TraceOptions) -> Result<(), Failure> {
    let filter = options.filter.join(" ");
    let query = TraceQuery { seconds: options.seconds, packets: options.pcap.is_some(), ..parse(&filter)? };
    let mut pcap = options.pcap.as_deref().map(open).transpose()?;
    let mut events = options.asking.client().lines("/api/v1/trace", &query).await?;
    let mut packets = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = tokio::signal::ctrl_c() => None,
        };
        match event {
            None => break,
            Some(TraceEvent::Step(step)) => print(&step, options.asking.output)?,
            Some(TraceEvent::Packet(time, octets)) => {
                packets += 1;
                if let Some((file, pcap)) = &mut pcap {
                    pcap.packet(time, &octets).map_err(|error| cannot_write(file, &error))?;
                }
            }
        }
    }
    if let Some((file, _)) = pcap {
        output::aside(&format!("{} in {}\n", plural(packets, "packet"), file.display()));
    }
    Ok(())
}

fn open(file: &Path) -> Result<(PathBuf, Pcap<File>), Failure> {
    let pcap = File::create(file).and_then(Pcap::start).map_err(|error| cannot_write(file, &error))?;
    Ok((file.to_owned(), pcap))
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FAILURE, format!("writing {}: {error}", file.display()))
}

fn print(step: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => output::text(&format!("{step}\n")),
        // One object a line, since nobody knows where the list would end.
        Output::Json => output::text(&format!("{}\n", serde_json::json!({ "step": step }))),
    }
}

fn parse(filter: &str) -> Result<TraceQuery, Failure> {
    let mut query = TraceQuery::default();
    let mut words = filter.split_whitespace().filter(|word| *word != "and");
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| bad(&format!("`{word}` wants a value")));
        match word {
            "host" => set(&mut query.address, word, value_of::<IpAddr>(word, value()?)?)?,
            "port" => set(&mut query.port, word, value_of::<u16>(word, value()?)?)?,
            _ => set(&mut query.protocol, word, protocol(word)?)?,
        }
    }
    Ok(query)
}

fn protocol(word: &str) -> Result<u8, Failure> {
    match word {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        "esp" => Ok(50),
        "ah" => Ok(51),
        "icmp" => Ok(1),
        _ => Err(bad(&format!("`{word}` is not part of a filter"))),
    }
}

fn value_of<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| bad(&format!("`{word} {value}`: not a value for it")))
}

fn set<T>(place: &mut Option<T>, word: &str, value: T) -> Result<(), Failure> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(&format!("`{word}`: there can be only one of its kind"))),
    }
}

fn bad(what: &str) -> Failure {
    Failure::new(BAD_INPUT, format!("{what}; {FILTER_HELP}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_words_that_must_all_hold() {
        let query = parse("host 10.0.0.1 and port 80 tcp").unwrap();
        let expected = (Some("10.0.0.1".parse().unwrap()), Some(80), Some(6));
        assert_eq!((query.address, query.port, query.protocol), expected);
        assert_eq!(parse("icmp").unwrap().protocol, Some(1));
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        for filter in ["host", "host here", "port 70000", "tcp udp", "port 1 port 2", "src 10.0.0.1"] {
            assert_eq!(parse(filter).unwrap_err().parts().0, BAD_INPUT, "{filter}");
        }
    }
}
