//! Certificates: right ones, and ones that something is wrong with.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

// === impl Authority ===

impl Authority {
    /// An authority that is good for a year.
    ///
    /// # Panics
    /// When there is no randomness for its key.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::valid(name, -1..365)
    }

    /// An authority that is good from and until so many days from now.
    ///
    /// # Panics
    /// As [`Authority::new`].
    #[must_use]
    pub fn valid(name: &str, days: Range<i32>) -> Self {
        let mut params = params(&[], days);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// A certificate for these names and addresses, for server and client.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_valid(names, -1..365)
    }

    /// As [`Authority::issue`], good from and until so many days from now.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue_valid(&self, names: &[&str], days: Range<i32>) -> Issued {
        let mut params = params(names, days);
        params.distinguished_name.push(DnType::CommonName, "ganger test");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Issued {
            cert: pem("CERTIFICATE", cert.der()),
            key: pem("PRIVATE KEY", key.serialized_der()),
        }
    }
}

// === impl Issued ===

impl Issued {
    /// Writes `cert.pem` and `key.pem`, each put into place whole.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, dir: &Path) {
        for (name, text) in [("cert.pem", &self.cert), ("key.pem", &self.key)] {
            let fresh = dir.join(format!("{name}.new"));
            fs::write(&fresh, text).expect("a file");
            fs::rename(&fresh, dir.join(name)).expect("a file in place");
        }
    }
}

fn params(names: &[&str], days: Range<i32>) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let time = |days: i32| {
        let (now, distance) = (SystemTime::now(), DAY * days.unsigned_abs());
        if days < 0 { now - distance } else { now + distance }
    };
    params.not_before = time(days.start).into();
    params.not_after = time(days.end).into();
    params
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
