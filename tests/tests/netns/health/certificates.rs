//! TLS against nginx, with certificates of an authority of the test's own, which the daemon is told to trust.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::servers::nginx;
use super::{Checked, await_down, await_up, fairway_through, one_backend};
use crate::harness::fairway_binary;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn certificates_are_verified_and_their_end_is_told() {
    let lab = one_backend();
    let files = tempfile::tempdir().expect("a directory can be made");
    fs::write(files.path().join("index.html"), "ok\n").expect("it is writable");
    let authority = Authority::new();
    let roots = files.path().join("roots.pem");
    fs::write(&roots, authority.pem()).expect("it is writable");
    let lines = format!(
        "ssl_certificate {0}/server.pem; ssl_certificate_key {0}/server.key;
server {{ listen 10.2.0.21:443 ssl; }}
server {{ listen 10.2.0.21:444 ssl http2; }}",
        files.path().display()
    );
    let serve = |name: &str, days: i64| {
        authority.certify(files.path(), name, days);
        nginx(&lab, files.path(), &lines, 443)
    };
    let mut server = serve("web.example", 90);

    let verified = "tls = true\nverify = true\nserver_name = \"web.example\"";
    let services = [
        Checked::new("https", 443, format!("type = \"http\"\n{verified}")),
        Checked::new("h2", 444, format!("type = \"http\"\nversion = \"2\"\n{verified}")),
        Checked::new("handshake", 445, "type = \"tls\"\nport = 443\nverify = true\nserver_name = \"web.example\""),
        Checked::new("credulous", 446, "type = \"http\"\nport = 443\ntls = true"),
    ];
    let mut command = Command::new(fairway_binary());
    command.env("SSL_CERT_FILE", &roots);
    let fairway = fairway_through(&lab, &services, command);
    let verifying = ["https", "h2", "handshake"];
    let all_up = |note: &str| {
        for (service, detail) in [
            ("https", "HTTP 200"),
            ("h2", "HTTP 200"),
            ("handshake", "TLS handshake completed"),
            ("credulous", "HTTP 200"),
        ] {
            await_up(&fairway, service, &format!("{detail}{note}"));
        }
    };
    all_up("");

    server.stop().expect("nginx can be waited for");
    server = serve("web.example", -3);
    verifying.iter().for_each(|service| await_down(&fairway, service, "certificate expired 3 days ago"));
    await_up(&fairway, "credulous", "HTTP 200, certificate expired 3 days ago");

    server.stop().expect("nginx can be waited for");
    server = serve("shop.example", 90);
    let why = "certificate not valid for web.example, but for shop.example";
    verifying.iter().for_each(|service| await_down(&fairway, service, why));
    await_up(&fairway, "credulous", "HTTP 200");

    server.stop().expect("nginx can be waited for");
    let _server = serve("web.example", 5);
    all_up(", certificate expires in 5 days");
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of the test");
        Self { params, key: KeyPair::generate().expect("a key can be made") }
    }

    fn pem(&self) -> String {
        self.params.self_signed(&self.key).expect("a certificate can be made").pem()
    }

    /// Writes certificate and key of a server, that expires in so many days and a half.
    #[expect(clippy::disallowed_methods, reason = "certificates expire by the calendar")]
    fn certify(&self, directory: &Path, name: &str, days: i64) {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is one");
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
        let today = date_time_ymd(1970, 1, 1) + age;
        params.not_before = today - 100 * DAY;
        let away = DAY * u32::try_from(days.unsigned_abs()).expect("a few days");
        params.not_after = if days < 0 { today - away - DAY / 2 } else { today + away + DAY / 2 };
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate can be made");
        fs::write(directory.join("server.pem"), certificate.pem()).expect("it is writable");
        fs::write(directory.join("server.key"), key.serialize_pem()).expect("it is writable");
    }
}
