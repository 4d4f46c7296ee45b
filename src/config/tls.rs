//! The files of `tls`, which are read as the configuration is.

use std::time::SystemTime;

use super::decode::{Cx, Decode, Fields, Spanned};
use super::keys::{Tell, keys, optional, required};
use super::report::{Mistake, Span};
use super::tree::Node;
use super::value::Text;
use crate::tls::{FileFlaw, Files, TlsIdentity, Which, load};

/// Names of files, as they stand in the configuration.
struct Named {
    ca: Option<Spanned<String>>,
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

keys! {
    /// The keys of `tls`.
    TLS, TlsKeys, TLS_ROWS;
    ca: Text = required("\"ca.pem\"", "The file with the certificates of who signs the other side's. Paths are relative to the file that they stand in.").path();
    cert: Text = optional("none", "\"cert.pem\"", "The file with the certificate that is shown.").path();
    key: Text = optional("none", "\"key.pem\"", "The file with its key.").path();
}

impl Decode for Files {
    const WHAT: &'static str = "(ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\")";
    const TELL: Tell = Tell::Keys(&[("", TLS_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let named = cx.fields(node, "`tls`", |f| {
            let (ca, cert, key) = (f.required(TLS.ca), f.optional(TLS.cert), f.optional(TLS.key));
            let spanned = |text: Option<Text>, place: Option<Span>| {
                text.zip(place).map(|(Text(value), span)| Spanned { value, span })
            };
            let named = Named {
                ca: spanned(ca, f.place(TLS.ca)),
                cert: spanned(cert, f.place(TLS.cert)),
                key: spanned(key, f.place(TLS.key)),
            };
            named.check_pair(f);
            named
        })?;
        let path = |name: &Spanned<String>| cx.path(&name.value, &name.span);
        let ca = named.ca.as_ref().map(path)?;
        let identity = named.cert.as_ref().zip(named.key.as_ref());
        let identity = identity.map(|(cert, key)| TlsIdentity { cert: path(cert), key: path(key) });
        let files = Self { ca, identity };
        let place = |flaw: &FileFlaw| named.place(flaw.which).unwrap_or(&node.span);
        let mistake = |flaw: &FileFlaw| {
            let mistake = Mistake::new(place(flaw), flaw.what.as_str());
            if flaw.help.is_empty() { mistake } else { mistake.help(flaw.help.as_str()) }
        };
        match load(&files, SystemTime::now()) {
            Ok(loaded) => cx.warnings.extend(loaded.warnings.iter().map(mistake)),
            Err(flaws) => flaws.iter().map(mistake).for_each(|mistake| cx.report(mistake)),
        }
        Some(files)
    }
}

// === impl Named ===

impl Named {
    /// Certificate and key are of no use without each other.
    fn check_pair(&self, f: &mut Fields<'_, '_, '_>) {
        let (alone, title, help) = match (&self.cert, &self.key) {
            // An unreadable value was reported.
            (Some(cert), None) if !f.given(TLS.key) => (
                cert,
                "`cert` without `key`: who has a certificate proves it with its key",
                "add `key`, or leave out `cert` if the engine asks for none",
            ),
            (None, Some(key)) if !f.given(TLS.cert) => (
                key,
                "`key` without `cert`: a key is shown to nobody but with its certificate",
                "add `cert`, or leave out `key` if the engine asks for none",
            ),
            _ => return,
        };
        f.cx.report(Mistake::new(&alone.span, title).help(help));
    }

    fn place(&self, which: Which) -> Option<&Span> {
        let name = match which {
            Which::Ca => &self.ca,
            Which::Cert => &self.cert,
            Which::Key => &self.key,
        };
        name.as_ref().map(|name| &name.span)
    }
}
