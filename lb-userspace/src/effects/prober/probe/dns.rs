//! A DNS question is answered as expected (RFC 1035), over UDP. The answer's text is compared as zone files write it,
//! without regard to case, quotes and final dots.

use domain::base::iana::Rcode;
use domain::base::name::ParsedName;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::AllRecordData;

use super::attempt::{Attempt, Stage};
use crate::config::check;
use crate::effects::prober::route;
use crate::health::verdict::{Failure, FailureKind, Success};

/// What an answer may take, so that it needs no fragments on the way (RFC 9715).
const MOST_OCTETS: u16 = 1232;

/// The question, and what is a right answer.
#[derive(Debug)]
pub(super) struct Dns {
    /// The message, but for its number.
    question: Vec<u8>,
    record: Rtype,
    expect: Option<String>,
    accept_empty: bool,
}

impl Dns {
    pub(super) fn new(dns: &check::Dns) -> Result<Self, String> {
        let name: Name<Vec<u8>> = dns.name.parse().map_err(|error| format!("name {:?}: {error}", dns.name))?;
        let record: Rtype = dns.record.parse().map_err(|_| format!("{:?} is no type of records", dns.record))?;
        Ok(Self {
            question: question(&name, record).map_err(|error| error.to_string())?,
            record,
            expect: dns.expect.clone(),
            accept_empty: dns.accept_empty,
        })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        attempt.enter(Stage::Datagram);
        let failure = |trouble: route::Trouble| trouble.failure(attempt.target());
        let socket = route::udp(attempt.route).map_err(failure)?;
        let question = self.numbered()?;
        socket.send(question.as_slice()).await.map_err(failure)?;
        let mut buffer = [0; MOST_OCTETS as usize];
        loop {
            let length = socket.receive(&mut buffer).await.map_err(failure)?;
            let Ok(answer) = Message::from_octets(&buffer[..length]) else {
                return Err(Failure::new(FailureKind::Wrong, format!("{length} octets are no DNS answer")));
            };
            // An answer to another question is somebody else's, or a forgery.
            if answer.is_answer(&question) || is_error_without_question(&answer, &question) {
                return self.judge(&answer).map_err(|why| Failure::new(FailureKind::Wrong, why));
            }
        }
    }

    /// The question under a number that nobody can guess.
    fn numbered(&self) -> Result<Message<Vec<u8>>, Failure> {
        let number =
            getrandom::u32().map_err(|error| Failure::new(FailureKind::Local, format!("no random number: {error}")))?;
        let mut question = self.question.clone();
        question[..2].copy_from_slice(&number.to_be_bytes()[..2]);
        Ok(Message::from_octets(question).expect("it was built as one"))
    }

    fn judge(&self, answer: &Message<&[u8]>) -> Result<Success, String> {
        let rcode = answer.header().rcode();
        let records = match rcode {
            Rcode::NOERROR => self.records(answer)?,
            Rcode::NXDOMAIN => Vec::new(),
            _ => return Err(format!("DNS answer {rcode}, expected {}", self.expected())),
        };
        match (&self.expect, records.first()) {
            (_, None) if self.accept_empty => Ok(success(format!("DNS {rcode}, no {}", self.record))),
            (_, None) if rcode == Rcode::NXDOMAIN => Err(format!("DNS answer NXDOMAIN, expected {}", self.expected())),
            (_, None) => Err(format!("DNS answer without {}, expected {}", self.record, self.expected())),
            (None, Some(first)) => Ok(success(format!("DNS {} {first}", self.record))),
            (Some(wanted), Some(_)) if records.iter().any(|record| is_same(record, wanted)) => {
                Ok(success(format!("DNS {} {wanted}", self.record)))
            }
            (Some(_), Some(_)) => {
                Err(format!("DNS answer {} {}, expected {}", self.record, records.join(", "), self.expected()))
            }
        }
    }

    /// The text of those of the type that was asked for. An alias on the way to them is none.
    fn records(&self, answer: &Message<&[u8]>) -> Result<Vec<String>, String> {
        let broken = |error| format!("the answer is not DNS: {error}");
        let mut texts = Vec::new();
        for record in answer.answer().map_err(broken)? {
            let record = record.map_err(broken)?;
            if record.rtype() == self.record || self.record == Rtype::ANY {
                let record = record.into_any_record::<AllRecordData<_, ParsedName<_>>>().map_err(broken)?;
                texts.push(record.data().to_string());
            }
        }
        Ok(texts)
    }

    /// `A 10.0.0.1`
    fn expected(&self) -> String {
        match &self.expect {
            Some(text) => format!("{} {text}", self.record),
            None => self.record.to_string(),
        }
    }
}

fn question(name: &Name<Vec<u8>>, record: Rtype) -> Result<Vec<u8>, domain::base::message_builder::PushError> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, record))?;
    let mut builder = builder.additional();
    builder.opt(|edns| {
        edns.set_udp_payload_size(MOST_OCTETS);
        Ok(())
    })?;
    Ok(builder.finish())
}

/// A server that cannot read a question answers without it (RFC 1035, section 4.1.1: FORMERR).
fn is_error_without_question(answer: &Message<&[u8]>, question: &Message<Vec<u8>>) -> bool {
    let header = answer.header();
    header.qr()
        && header.id() == question.header().id()
        && answer.header_counts().qdcount() == 0
        && header.rcode() != Rcode::NOERROR
}

fn is_same(record: &str, wanted: &str) -> bool {
    let plain = |text: &str| {
        let words =
            text.split_whitespace().map(|word| word.trim_matches('"').trim_end_matches('.').to_ascii_lowercase());
        words.collect::<Vec<_>>().join(" ")
    };
    plain(record) == plain(wanted)
}

fn success(detail: String) -> Success {
    Success { detail, ..Success::default() }
}

#[cfg(test)]
mod tests;
