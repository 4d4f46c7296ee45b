//! Why TLS did not come about, in words that help.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// What an error, or one that caused it, says of TLS; `None` when it is of
/// something else.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // What is inside of such an error is not among its causes.
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
             `insecure: true` instead of `tls`, or name the port with TLS, usually 2376"
            .to_owned(),
        AlertReceived(alert) => refusal(*alert),
        PeerIncompatible(what) => {
            format!("the engine's TLS is too old or too new to agree on anything: {what:?}")
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
        UnknownIssuer => {
            "the engine's certificate is not signed by an authority in the file `ca`: \
             name the one that signed it, and look twice whether this is the engine"
                .to_owned()
        }
        Expired | ExpiredContext { .. } => {
            "the engine's certificate has expired: give it a new one".to_owned()
        }
        NotValidYet | NotValidYetContext { .. } => {
            "the engine's certificate is not valid yet: is this machine's clock right?".to_owned()
        }
        NotValidForNameContext { expected, presented } => format!(
            "the engine's certificate is not for {}, but for {}: write what it is for into `url`, \
             or give the engine a certificate for this",
            expected.to_str(),
            presented.join(", "),
        ),
        NotValidForName => "the engine's certificate is for another name or address".to_owned(),
        other => format!("the engine's certificate is not good: {other}"),
    }
}

/// What the other end told us before it hung up.
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
            "the engine does not take our certificate ({alert:?}): `cert` and `key` have to be \
             there, and signed by the authority that the engine trusts (its --tlscacert)"
        ),
        other => format!("the engine broke off TLS ({other:?})"),
    }
}
