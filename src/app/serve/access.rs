//! Opens the file for records of connections, at the start and at each reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use crate::aside::Aside;
use crate::proxy::{AccessLogError, AccessWriter};

/// How long the file system may take. With the reading of the configuration, that is less than a
/// process that takes over waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens files for records of connections, one at a time.
pub(in crate::app) struct AccessOpening(Aside<()>);

/// Why the file for records of connections is not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The file cannot be opened.
    #[error(transparent)]
    Access(#[from] AccessLogError),
    /// The file system does not answer in time.
    #[error(
        "the file system of the `access_log` {} does not answer within {PATIENCE:?}: it may be away",
        _0.display()
    )]
    Late(PathBuf),
}

// === impl AccessOpening ===

impl AccessOpening {
    /// Opens the file at a path, if there is one.
    ///
    /// # Cancel safety
    /// Dropping the future leaves an opening that has begun to its thread, which closes the file.
    pub(in crate::app) async fn open(
        &self,
        path: Option<&Path>,
    ) -> Result<Option<AccessWriter>, OpeningError> {
        let Some(path) = path.map(Path::to_owned) else { return Ok(None) };
        let (opened, to_open) = (Arc::new(Mutex::new(None)), path.clone());
        let bring = Arc::clone(&opened);
        self.0.read(move || *bring.lock() = Some(AccessWriter::open(&to_open))).await;
        let opened = opened.lock().take();
        opened.map_or(Err(OpeningError::Late(path)), |opened| Ok(Some(opened?)))
    }
}

impl Default for AccessOpening {
    fn default() -> Self {
        Self(Aside::new(PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ganger_test_support::unique;

    use super::*;

    #[tokio::test]
    async fn a_file_is_opened_and_why_not_is_told() {
        let opening = AccessOpening::default();
        let path = std::env::temp_dir().join(unique("ganger-access"));
        assert!(opening.open(None).await.unwrap().is_none());
        assert!(opening.open(Some(&path)).await.unwrap().is_some());
        fs::remove_file(&path).unwrap();
        let why = opening.open(Some(&path.join("below"))).await.unwrap_err();
        assert!(matches!(why, OpeningError::Access(_)), "{why}");
    }

    #[tokio::test]
    async fn a_file_system_that_is_away_holds_one_thread_however_often_it_is_asked() {
        let opening = AccessOpening(Aside::new(Duration::from_millis(20)));
        let (go_on, gone_on) = std::sync::mpsc::channel::<()>();
        assert_eq!(opening.0.read(move || _ = gone_on.recv()).await, None);
        let path = std::env::temp_dir().join(unique("ganger-access"));
        let why = opening.open(Some(&path)).await.unwrap_err();
        assert!(matches!(why, OpeningError::Late(_)) && !path.exists(), "{why}");
        drop(go_on);
    }
}
