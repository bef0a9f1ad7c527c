//! An HTTP request is answered with a right status, and with a body that holds what is expected.

use std::fmt::Write as _;
use std::net::IpAddr;

use hyper::body::Bytes;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::{HeaderMap, Method, Request};

use super::attempt::Attempt;
use super::connection::open;
use super::exchange::Answer;
use super::pattern::Matcher;
use super::secure::Secure;
use super::{MOST_READ, http1, http2};
use crate::config::check::{self, HttpVersion};
use crate::health::spec::Target;
use crate::health::verdict::{Failure, FailureKind, Success};

/// What a server's log shows of us.
const AGENT: &str = concat!("fairway/", env!("CARGO_PKG_VERSION"));

/// A compiled request and its right answers.
#[derive(Debug)]
pub(super) struct Http {
    version: HttpVersion,
    secure: Option<Secure>,
    method: Method,
    path: PathAndQuery,
    host: Option<Authority>,
    headers: HeaderMap,
    body: Bytes,
    status: Vec<(u16, u16)>,
    expect: Option<Matcher>,
}

impl Http {
    pub(super) fn new(http: &check::Http) -> Result<Self, String> {
        let protocol: &[u8] = match http.version {
            HttpVersion::Http1 => b"http/1.1",
            HttpVersion::Http2 => b"h2",
        };
        Ok(Self {
            version: http.version,
            secure: http.tls.as_ref().map(|tls| Secure::new(tls, &[protocol])).transpose()?,
            method: Method::from_bytes(http.method.as_bytes())
                .map_err(|_| format!("{:?} is no method", http.method))?,
            path: http.path.parse().map_err(|error| format!("path {:?}: {error}", http.path))?,
            host: match &http.host {
                Some(host) => Some(host.parse().map_err(|error| format!("host {host:?}: {error}"))?),
                None => None,
            },
            headers: headers(&http.headers)?,
            body: Bytes::copy_from_slice(http.body.as_bytes()),
            status: http.status.clone(),
            expect: http.expect.as_ref().map(Matcher::new).transpose()?,
        })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let request = self.request(attempt.target())?;
        let (connection, certificate_expires) = open(attempt, self.secure.as_ref()).await?;
        let answer = match self.version {
            HttpVersion::Http1 => http1::exchange(attempt, connection, request).await?,
            HttpVersion::Http2 => http2::exchange(attempt, connection, request).await?,
        };
        self.judge(&answer)?;
        let note = self.secure.as_ref().map(|secure| secure.note(certificate_expires)).unwrap_or_default();
        Ok(Success { detail: format!("HTTP {}{note}", answer.status), certificate_expires, agent: None })
    }

    /// HTTP/1.1 has the host in a field and only the path in the request line; HTTP/2 has both in its pseudo-header fields.
    fn request(&self, target: &Target) -> Result<Request<Bytes>, Failure> {
        let authority = match &self.host {
            Some(host) => host.clone(),
            None => authority(target, self.secure.is_some()),
        };
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        match self.version {
            HttpVersion::Http1 => {
                *request.uri_mut() = self.path.clone().into();
                let host = HeaderValue::from_str(authority.as_str()).expect("an authority is fit for a field");
                request.headers_mut().insert(HOST, host);
            }
            HttpVersion::Http2 => {
                let scheme = if self.secure.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
                let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(self.path.clone());
                *request.uri_mut() = uri
                    .build()
                    .map_err(|error| Failure::new(FailureKind::Local, format!("cannot make the request: {error}")))?;
            }
        }
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    fn judge(&self, answer: &Answer) -> Result<(), Failure> {
        let status = answer.status;
        if !self.status.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
            let why = format!("HTTP {status}, expected {}", ranges(&self.status));
            return Err(Failure::new(FailureKind::Wrong, why));
        }
        match &self.expect {
            Some(wanted) if wanted.find_end(&answer.body).is_none() => {
                let mut why = format!("body without {wanted}");
                if answer.is_full() {
                    let _ = write!(why, " in its first {MOST_READ} octets");
                }
                Err(Failure::new(FailureKind::Wrong, why))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn headers(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    // What is configured replaces what we would send; of two with the same name both are sent.
    for (name, _) in fields {
        headers.remove(name.as_str());
    }
    for (name, value) in fields {
        let field =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is no name of a header field"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no value of a header field"))?;
        headers.append(field, value);
    }
    Ok(headers)
}

/// The address that is asked, with its port unless that is the scheme's own.
fn authority(target: &Target, secure: bool) -> Authority {
    let address = match target.asked() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let own = if secure { 443 } else { 80 };
    let text = if target.port == own { address } else { format!("{address}:{}", target.port) };
    text.parse().expect("an address with a port is an authority")
}

/// `200-299, 404`
fn ranges(ranges: &[(u16, u16)]) -> String {
    let text = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
