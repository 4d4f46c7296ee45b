//! Reads the files, and reports their flaws.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{Files, TlsIdentity};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// How long before expiry a certificate is warned of.
const SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 3600;

/// Kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// CA certificates.
    Ca,
    /// Our certificate.
    Cert,
    /// Our private key.
    Key,
}

/// A flaw of a file, without any of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFlaw {
    pub(crate) which: Which,
    pub(crate) what: String,
    pub(crate) help: String,
}

/// The result of [`load`].
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: ClientConfig,
    /// Certificates that expire soon.
    pub(crate) warnings: Vec<FileFlaw>,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy)]
struct Validity {
    from: SystemTime,
    until: SystemTime,
}

/// Collects what is wrong.
struct Check {
    now: SystemTime,
    flaws: Vec<FileFlaw>,
    warnings: Vec<FileFlaw>,
}

/// Reads the files.
///
/// # Errors
/// All that is wrong with them, at least one.
pub(crate) fn load(files: &Files, now: SystemTime) -> Result<Loaded, Vec<FileFlaw>> {
    let mut check = Check { now, flaws: Vec::new(), warnings: Vec::new() };
    let roots = check.authorities(&files.ca);
    let identity = files.identity.as_ref().map(|TlsIdentity { cert, key }| {
        let certificates = check.certificates(Which::Cert, cert);
        if let Some(certificates) = &certificates {
            // The engine judges the rest of the chain.
            check.in_time(Which::Cert, cert, &certificates[..1]);
        }
        let key = check.key(key);
        Some((certificates?, key?))
    });
    let (Some(roots), None | Some(Some(_))) = (roots, &identity) else {
        return Err(check.flaws);
    };
    let config = client(roots, identity.flatten());
    let config = config.map_err(|error| check.unusable(files, &error)).ok();
    match config {
        Some(config) if check.flaws.is_empty() => Ok(Loaded { config, warnings: check.warnings }),
        _ => Err(check.flaws),
    }
}

/// Expiry times of the readable certificates in these files: ours by the first in its file, the
/// authorities by the one that is valid longest.
pub(super) fn expiries(files: &Files, now: SystemTime) -> Vec<(PathBuf, SystemTime)> {
    let mut check = Check { now, flaws: Vec::new(), warnings: Vec::new() };
    let mut until = |which, path: &Path| -> Vec<SystemTime> {
        let certificates = check.certificates(which, path).unwrap_or_default();
        certificates.iter().filter_map(|found| Some(Validity::of(found)?.until)).collect()
    };
    let authorities = until(Which::Ca, &files.ca).into_iter().max();
    let ours = files.identity.as_ref().map(|identity| &identity.cert);
    let ours = ours.and_then(|cert| Some((cert.clone(), *until(Which::Cert, cert).first()?)));
    authorities.map(|until| (files.ca.clone(), until)).into_iter().chain(ours).collect()
}

fn client(
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match identity {
        Some((certificates, key)) => builder.with_client_auth_cert(certificates, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Several flaws in one line.
pub(super) fn listed(flaws: &[FileFlaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

// === impl Check ===

impl Check {
    fn flaw(&mut self, which: Which, what: String, help: &str) {
        self.flaws.push(FileFlaw { which, what, help: help.to_owned() });
    }

    fn authorities(&mut self, path: &Path) -> Option<RootCertStore> {
        let certificates = self.certificates(Which::Ca, path)?;
        self.in_time(Which::Ca, path, &certificates);
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            if let Err(error) = roots.add(certificate) {
                let what = format!("{} holds what is no authority: {error}", path.display());
                self.flaw(
                    Which::Ca,
                    what,
                    "name the file with the certificate that signed the engine's",
                );
            }
        }
        Some(roots)
    }

    /// The certificates of a file, at least one.
    fn certificates(&mut self, which: Which, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let text = self.read(which, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let what = match found {
            Ok(found) if !found.is_empty() => return Some(found),
            Ok(_) => "holds no certificate",
            Err(_) => "is damaged",
        };
        let what = format!("{} {what}", path.display());
        self.flaw(which, what, "it has to be PEM: text with a part -----BEGIN CERTIFICATE-----");
        None
    }

    fn key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let text = self.read(Which::Key, path)?;
        // The library's error for a damaged key quotes it.
        if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
            return Some(key);
        }
        let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        let (what, help) = if has(b"ENCRYPTED") {
            ("is encrypted", "write it without a passphrase, readable for Ganger's user alone")
        } else {
            let help = "it has to be PEM: text with a part -----BEGIN PRIVATE KEY-----";
            ("holds no private key", help)
        };
        self.flaw(Which::Key, format!("{} {what}", path.display()), help);
        None
    }

    fn read(&mut self, which: Which, path: &Path) -> Option<Vec<u8>> {
        let shown = path.display();
        let mut text = Vec::new();
        // Anything but a file, such as a pipe, could keep us waiting.
        let read = path.metadata().and_then(|found| match found.is_file() {
            true => File::open(path)?.take(LARGEST + 1).read_to_end(&mut text),
            false => Err(std::io::Error::other("it is not a file")),
        });
        match read {
            Ok(length) if length as u64 <= LARGEST => return Some(text),
            Ok(_) => {
                let what = format!("{shown} is larger than {} KiB", LARGEST >> 10);
                self.flaw(which, what, "name a file in PEM");
            }
            Err(error) => {
                let help = "the path is relative to the directory of the configuration, and the \
                            user Ganger runs as has to be able to read it";
                self.flaw(which, format!("cannot read {shown}: {error}"), help);
            }
        }
        None
    }

    /// Accepts several certificates when one is valid: authorities are
    /// replaced by adding the next one.
    fn in_time(&mut self, which: Which, path: &Path, certificates: &[CertificateDer<'_>]) {
        let (now, shown) = (self.now, path.display());
        let mut good: Option<Validity> = None;
        let mut bad = None;
        for certificate in certificates {
            let date = |time| humantime::format_rfc3339_seconds(time);
            match Validity::of(certificate) {
                None => {
                    bad = Some((format!("{shown} holds a certificate that cannot be read"), ""))
                }
                Some(Validity { from, .. }) if now < from => {
                    let what =
                        format!("the certificate in {shown} is not valid before {}", date(from));
                    bad = Some((what, "wait, or set this machine's clock right"));
                }
                Some(Validity { until, .. }) if until < now => {
                    let what = format!("the certificate in {shown} expired at {}", date(until));
                    bad = Some((what, "replace it by a new one"));
                }
                Some(found) if good.is_none_or(|good| good.until < found.until) => {
                    good = Some(found);
                }
                Some(_) => {}
            }
        }
        match (good, bad) {
            (Some(Validity { until, .. }), _) => {
                let left = until.duration_since(now).unwrap_or_default();
                if left <= SOON {
                    let what = format!(
                        "the certificate in {shown} expires in {} days, at {}",
                        left.as_secs() / DAY,
                        humantime::format_rfc3339_seconds(until)
                    );
                    let help = "replace it in time; new connections use the new one".to_owned();
                    self.warnings.push(FileFlaw { which, what, help });
                }
            }
            (None, Some((what, help))) => self.flaw(which, what, help),
            (None, None) => {}
        }
    }

    /// Reports why certificate and key cannot be used.
    fn unusable(&mut self, files: &Files, error: &Error) {
        let path =
            |path: Option<&PathBuf>| path.map_or_else(String::new, |p| p.display().to_string());
        let identity = files.identity.as_ref();
        let cert = path(identity.map(|identity| &identity.cert));
        let key = path(identity.map(|identity| &identity.key));
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let what = format!("the key in {key} is not that of the certificate in {cert}");
                self.flaw(Which::Key, what, "name the key that the certificate was asked for with");
            }
            Error::InvalidCertificate(error) => {
                let what = format!("the certificate in {cert} cannot be used: {error}");
                self.flaw(Which::Cert, what, "it has to be an X.509 certificate of version 3");
            }
            _ => {
                let what = format!("the key in {key} cannot be used");
                let help = "use RSA of 2048 to 4096 bits, ECDSA over P-256 or P-384, or Ed25519";
                self.flaw(Which::Key, what, help);
            }
        }
    }
}

// === impl Validity ===

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(Self {
            from: validity.not_before.to_system_time(),
            until: validity.not_after.to_system_time(),
        })
    }
}

// === impl FileFlaw ===

impl fmt::Display for FileFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, help, .. } = self;
        if help.is_empty() { write!(f, "{what}") } else { write!(f, "{what}; {help}") }
    }
}
