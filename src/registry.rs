//! Logins of registries, from where Docker's own client keeps them.

use std::env;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Timeout of a credential helper, which may wait for somebody to unlock it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Docker's client's name of its default registry.
const DEFAULT: &str = "https://index.docker.io/v1/";

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The registry, as it is called in Docker's `config.json`.
    pub(crate) server: String,
    pub(crate) secret: Secret,
}

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Secret {
    Token(String),
    Password { user: String, password: String },
}

/// The login for an image's registry: from `config.json` in `$DOCKER_CONFIG` or
/// `~/.docker`, or the credential helper that is named there. `None` when there
/// is none. Looked up each time, for logins change.
///
/// # Errors
/// A login exists and cannot be read.
///
/// # Cancel safety
/// Dropping the future may leave a helper running to its end.
pub(crate) async fn login(image: &str) -> Result<Option<Login>, String> {
    let server = server(image).to_owned();
    let Some(path) = config() else { return Ok(None) };
    let failed = |why: &dyn fmt::Display| {
        format!("the login for the registry {server} cannot be had from {}: {why}", path.display())
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let asked = server.clone();
    // A helper is a process, and is waited for.
    let answer = spawn_blocking(move || get_credential_from_reader(file, &asked));
    let answer = timeout(PATIENCE, answer).await;
    let answer = answer.map_err(|_| failed(&"the helper does not answer"))?;
    let answer = answer.map_err(|_| failed(&"it broke off"))?;
    let secret = understood(answer).map_err(|why| failed(&why))?;
    Ok(secret.map(|secret| Login { server, secret }))
}

/// Where Docker's client keeps its logins.
fn config() -> Option<PathBuf> {
    let dir = match env::var_os("DOCKER_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME")?).join(".docker"),
    };
    Some(dir.join("config.json"))
}

fn understood(
    answer: Result<DockerCredential, CredentialRetrievalError>,
) -> Result<Option<Secret>, String> {
    use CredentialRetrievalError::{HelperFailure, NoCredentialConfigured};
    match answer {
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Secret::Token(token))),
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Secret::Password { user, password }))
        }
        Err(NoCredentialConfigured) => Ok(None),
        // Helpers say it in these words, which Docker's client looks for as well.
        Err(HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Ok(None),
        Err(error) => Err(error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

/// The registry of an image, by Docker's rule for telling it from a path.
fn server(image: &str) -> &str {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => DEFAULT,
        Some((first, _)) if is_registry(first) => first,
        _ => DEFAULT,
    }
}

/// Docker's rule for telling a registry from the first part of a path.
pub(crate) fn is_registry(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.chars().any(|c| c.is_ascii_uppercase())
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_registry_or_means_the_default_one() {
        for (image, registry) in [
            ("postgres:16", DEFAULT),
            ("library/postgres", DEFAULT),
            ("docker.io/me/private:1", DEFAULT),
            ("Registry/a", "Registry"),
            ("192.0.2.7:5000/a/b:1", "192.0.2.7:5000"),
            ("registry.example.org/a@sha256:00", "registry.example.org"),
            ("localhost/a", "localhost"),
        ] {
            assert_eq!(server(image), registry, "{image}");
        }
    }

    #[test]
    fn what_is_not_there_is_no_failure_and_no_secret_is_shown() {
        use CredentialRetrievalError::{ConfigReadError, HelperFailure, NoCredentialConfigured};
        let helper = |stdout: &str| HelperFailure {
            helper: "docker-credential-x".into(),
            stdout: stdout.into(),
            stderr: String::new(),
        };
        assert_eq!(understood(Err(NoCredentialConfigured)), Ok(None));
        assert_eq!(understood(Err(helper("credentials not found in native keychain"))), Ok(None));
        let failed = understood(Err(helper("it is locked"))).unwrap_err();
        assert!(failed.contains("docker-credential-x") && failed.contains("locked"), "{failed}");
        assert!(understood(Err(ConfigReadError)).is_err());
        let login = Login { server: "s".into(), secret: Secret::Token("hush".into()) };
        assert!(!format!("{login:?}").contains("hush"));
    }
}
