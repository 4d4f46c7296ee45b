//! A real registry on loopback, for the engine in the machine's own namespace.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::fleet::Host;
use crate::poll::{free_port, unique, wait_until};

const START: Duration = Duration::from_secs(30);
/// The user who may log in, as the registry keeps it: a published test vector of bcrypt.
const USER: &str = "somebody:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
/// Name and password of the same, in base64: `somebody:U*U`.
const LOGIN: &str = "c29tZWJvZHk6VSpV";

/// A registry. It is killed and its images are deleted when this is dropped.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
}

// === impl Registry ===

impl Registry {
    /// Starts one that lets everybody in, or those who log in.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(login: bool) -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-registry"));
        fs::create_dir_all(dir.join("login")).expect("a directory for the registry");
        let port = free_port();
        let shown = dir.display();
        let auth = if login {
            fs::write(dir.join("users"), USER).expect("its users");
            format!("auth: {{htpasswd: {{realm: tests, path: {shown}/users}}}}\n")
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: \
             {shown}/images}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{auth}"
        );
        fs::write(dir.join("config.yml"), config).expect("its configuration");
        let login = format!("{{\"auths\": {{\"127.0.0.1:{port}\": {{\"auth\": \"{LOGIN}\"}}}}}}");
        fs::write(dir.join("login/config.json"), login).expect("the login");
        let mut registry = Self { dir, port, child: None };
        registry.resume();
        registry
    }

    /// Starts it again, with its images, after [`Registry::stop`].
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.dir.join("log")).expect("a log for the registry");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.dir.join("config.yml")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("its log")).stderr(log);
        self.child = Some(command.spawn().expect("docker-registry"));
        wait_until(START, "the registry listens", || Client::try_connect(self.port).is_ok());
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// An image's name in it.
    #[must_use]
    pub fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// The directory with a `config.json` that logs in to it.
    #[must_use]
    pub fn login(&self) -> String {
        self.dir.join("login").display().to_string()
    }

    /// Puts an image into it that runs `base` with this command, and removes it from
    /// the host. Returns the image by its digest.
    ///
    /// # Panics
    /// When that fails.
    pub fn publish(&self, host: &Host, base: &str, image: &str, command: &[&str]) -> String {
        let name = self.name(image);
        let container = host.docker(&["create", base]);
        let change = format!("CMD {command:?}");
        let _ = host.docker(&["commit", "--change", &change, &container, &name]);
        let _ = host.docker(&["rm", &container]);
        let _ = host.docker(&["--config", &self.login(), "push", "-q", &name]);
        let digest = host.docker(&["inspect", "--format", "{{index .RepoDigests 0}}", &name]);
        // The image may be in use already: the name goes, the image stays.
        let _ = host.docker(&["rmi", "--force", &name]);
        digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
