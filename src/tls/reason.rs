//! Why TLS did not come about, in words that help.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// The TLS failure in an error or its causes, in words; `None` when there
/// is none.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The error inside an `io::Error` is not among its causes.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(explain(error));
        }
        cause = error.source();
    }
    None
}

fn explain(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, PeerIncompatible};
    match error {
        InvalidCertificate(error) => certificate(error),
        InvalidMessage(_) => "what answers there does not speak TLS: without TLS write \
             `insecure: true` instead of `tls` for an engine, http:// for Consul; or name the port \
             with TLS, usually 2376 or 8501"
            .to_owned(),
        AlertReceived(alert) => refusal(*alert),
        PeerIncompatible(what) => {
            format!("its TLS is too old or too new to agree on anything: {what:?}")
        }
        other => format!("TLS: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    match error {
        UnknownIssuer => "its certificate is not signed by an authority in the file `ca`: \
             name the one that signed it, and look twice who this is"
            .to_owned(),
        Expired | ExpiredContext { .. } => {
            "its certificate has expired: give it a new one".to_owned()
        }
        NotValidYet | NotValidYetContext { .. } => {
            "its certificate is not valid yet: is this machine's clock right?".to_owned()
        }
        NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for {}, but for {}: write what it is for into the url, \
             or give it a certificate for this",
            expected.to_str(),
            presented.join(", "),
        ),
        NotValidForName => "its certificate is for another name or address".to_owned(),
        other => format!("its certificate is not good: {other}"),
    }
}

/// Explains the alert with which a peer closed.
fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired => format!(
            "it does not take our certificate ({alert:?}): `cert` and `key` have to be there, and \
             signed by an authority that it trusts (an engine's --tlscacert, Consul's ca_file)"
        ),
        other => format!("it broke off TLS ({other:?})"),
    }
}
