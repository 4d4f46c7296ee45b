//! A real browser without a screen, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::admin::exchange;
use crate::poll::{free_port, unique, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Chromium and its driver.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

/// The abilities of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserKind {
    /// All that browsers have.
    Usual,
    /// No scripts run in it.
    WithoutScripts,
}

// === impl Browser ===

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start: `cargo xtask test` installs it.
    #[must_use]
    pub fn start(kind: BrowserKind) -> Self {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver, which `cargo xtask test` installs");
        let profile = std::env::temp_dir().join(unique("ganger-browser"));
        let mut this = Self { driver, port, session: String::new(), profile };
        wait_until(PATIENCE, "the driver of the browser", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let args = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1400,1000".to_owned(),
            format!("--user-data-dir={}", this.profile.display()),
        ];
        let scripts = if kind == BrowserKind::WithoutScripts { 2 } else { 1 };
        let options = json!({
            "args": args,
            "prefs": {"profile.managed_default_content_settings.javascript": scripts},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = this.call("POST", "/session", &wanted);
        session["sessionId"].as_str().expect("a session").clone_into(&mut this.session);
        this
    }

    /// Goes to a page.
    ///
    /// # Panics
    /// When the page cannot be loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    /// The result of a script, or of the promise that it gives. Its arguments are `arguments`.
    ///
    /// # Panics
    /// When the script fails.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &Value) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Clicks what a selector finds first.
    ///
    /// # Panics
    /// When the selector finds nothing.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.on(selector, "found.click(); return true", "");
    }

    /// Types into what a selector finds first.
    ///
    /// # Panics
    /// When the selector finds nothing.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "found.value = arguments[1]; return true", text);
    }

    /// The text, as it is shown, of what a selector finds first.
    ///
    /// # Panics
    /// When the selector finds nothing.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.on(selector, "return found.innerText", "").as_str().expect("text").to_owned()
    }

    /// Finds and acts in one go: a page that lives may have another such element the next moment.
    /// Waits until there is one, for a page may be on its way.
    #[track_caller]
    fn on(&self, selector: &str, then: &str, with: &str) -> Value {
        let script = format!(
            "const found = document.querySelector(arguments[0]); if (!found) return null; {then}"
        );
        let mut done = Value::Null;
        wait_until(PATIENCE, selector, || {
            done = self.run(&script, &json!([selector, with]));
            !done.is_null()
        });
        done
    }

    /// Has the page drawn in so many pixels a line, for readers who like it `light` or `dark`.
    ///
    /// # Panics
    /// The browser does not.
    pub fn draw_as(&self, width: u32, scheme: &str) {
        let cdp = |command: &str, params: Value| {
            self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params}));
        };
        let metrics =
            json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        cdp("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        cdp("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Keeps a picture of the whole page.
    ///
    /// # Panics
    /// When the picture cannot be made.
    pub fn picture(&self, file: &Path) {
        let params = json!({"captureBeyondViewport": true});
        let command = json!({"cmd": "Page.captureScreenshot", "params": params});
        let picture = self.ask("POST", "/goog/cdp/execute", &command);
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(file, bytes).expect("a file");
    }

    /// The errors of the console since it was asked last: of scripts, of what could not be
    /// loaded, of what a page's policy forbids.
    ///
    /// # Panics
    /// The browser does not tell.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({"type": "browser"}));
        let severe = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].to_string()).collect()
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the driver");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let (status, answer) = exchange(stream, method, path, "application/json", &body);
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser, and what that has started, with the session.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let head = format!("DELETE /session/{} HTTP/1.1", self.session);
            _ = stream.set_read_timeout(Some(PATIENCE));
            _ = write!(stream, "{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            _ = stream.read(&mut [0; 1024]);
        }
        if let Some(group) = Pid::from_raw(self.driver.id().cast_signed()) {
            _ = kill_process_group(group, Signal::KILL);
        }
        _ = self.driver.wait();
        _ = fs::remove_dir_all(&self.profile);
    }
}
