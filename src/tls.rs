//! TLS to an engine or a Consul: only the given authorities are trusted, and the files are
//! looked at again for each new connection.
//!
//! An engine's API gives root on its machine: the authorities of the operating
//! system, any of which could vouch for an engine, are thus not trusted.

mod files;
mod reason;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::{info, warn};

pub(crate) use files::{FileFlaw, Which, load};
pub(crate) use reason::reason;

/// The files that connections to an engine are made with, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The certificates of the authorities that may vouch for the engine.
    pub ca: PathBuf,
    /// The client certificate; `None` if the engine asks for none.
    pub identity: Option<TlsIdentity>,
}

/// Who we are to an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsIdentity {
    /// Our certificate, and those between it and the authority that the engine trusts.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// Makes connections with the files as they are now.
#[derive(Debug)]
pub(crate) struct Connector {
    files: Files,
    state: Mutex<TlsState>,
}

#[derive(Debug, Default)]
struct TlsState {
    /// The stamps of the files when they were read last.
    seen: Vec<Option<Stamp>>,
    /// Configuration from the last usable files.
    config: Option<Arc<ClientConfig>>,
    /// The last warning about unusable files since then.
    told: Option<String>,
}

/// Changes when a file does, whether it is replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

// === impl Files ===

impl Files {
    /// When the certificates that can be read now expire, by the path of their file. Reads the
    /// files.
    #[must_use]
    pub fn expiries(&self) -> Vec<(PathBuf, SystemTime)> {
        files::expiries(self, SystemTime::now())
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        use std::os::unix::fs::MetadataExt;
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
        let stamp = |path: &PathBuf| {
            let file = fs::metadata(path).ok()?;
            let (modified, length, inode) = (file.modified().ok(), file.len(), file.ino());
            Some(Stamp { modified, length, inode })
        };
        std::iter::once(&self.ca).chain(identity).map(stamp).collect()
    }
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(files: Files) -> Self {
        Self { files, state: Mutex::default() }
    }

    /// Makes a TLS connection over `stream` to the engine at `host`, whose
    /// certificate has to be for that name or address. No deadline.
    ///
    /// # Errors
    /// The reason, where it is a matter of TLS. A refusal of our certificate
    /// by the engine shows only at the first request: see [`reason`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::other(format!("{host:?} is not a name that a certificate can be for"))
        })?;
        let connector = TlsConnector::from(self.config(host)?);
        connector.connect(name, stream).await.map_err(|error| match reason(&error) {
            Some(why) => io::Error::new(error.kind(), why),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "it ended before TLS was agreed on")
            }
            None => error,
        })
    }

    /// The files' content, read again after changes. Changed files that cannot
    /// be used are warned of once, and the old content is kept.
    fn config(&self, host: &str) -> io::Result<Arc<ClientConfig>> {
        let mut state = self.state.lock();
        let stamps = self.files.stamps();
        if state.seen == stamps
            && let Some(config) = &state.config
        {
            return Ok(Arc::clone(config));
        }
        let loaded = load(&self.files, SystemTime::now());
        match (loaded, state.config.clone()) {
            (Ok(loaded), before) => {
                if before.is_some() {
                    info!(host, "the TLS files were changed; new connections use them");
                    loaded.warnings.iter().for_each(|why| warn!(host, %why, "TLS"));
                }
                let config = Arc::new(loaded.config);
                *state = TlsState { seen: stamps, config: Some(Arc::clone(&config)), told: None };
                Ok(config)
            }
            (Err(flaws), Some(before)) => {
                let why = files::listed(&flaws);
                state.seen = stamps;
                if state.told.as_ref() != Some(&why) {
                    warn!(
                        host,
                        why, "the TLS files were changed and cannot be used; the old ones are"
                    );
                    state.told = Some(why);
                }
                Ok(before)
            }
            (Err(flaws), None) => Err(io::Error::other(files::listed(&flaws))),
        }
    }
}

#[cfg(test)]
mod tests;
