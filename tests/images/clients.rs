//! Real clients, each with so many connections to a service as it returns.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ganger_test_support::{Client, Ending, postgres_client};

/// Runs a program to its end, and returns what it printed.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}{errors}", output.status);
    said
}

/// A file that is removed with this.
struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ganger-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn psql(port: u16) -> usize {
    for _ in 0..3 {
        let mut psql = postgres_client("psql");
        psql.args(["--no-psqlrc", "-X", "-At", "-h", "127.0.0.1", "-p", &port.to_string()]);
        psql.args(["-U", "postgres", "-c", "CREATE TABLE t (n int)"]);
        psql.args(["-c", "INSERT INTO t VALUES (1), (2)", "-c", "SELECT sum(n) FROM t"]);
        let said = output(psql.env("PGPASSWORD", "secret"));
        assert!(said.ends_with("3\n"), "{said}");
    }
    3
}

/// A connection for each transaction, and one with which it begins.
pub(super) fn pgbench(port: u16) -> usize {
    let script = Scratch::new("select", "SELECT 1;\n");
    let mut pgbench = postgres_client("pgbench");
    pgbench.args(["-n", "-C", "-c", "2", "-t", "3", "-h", "127.0.0.1", "-p", &port.to_string()]);
    pgbench.args(["-U", "postgres", "-f", script.path(), "postgres"]);
    let said = output(pgbench.env("PGPASSWORD", "secret"));
    assert!(said.contains("number of transactions actually processed: 6/6"), "{said}");
    1 + 6
}

pub(super) fn mariadb(port: u16) -> usize {
    for _ in 0..3 {
        let mut client = Command::new("mariadb");
        client.args(["-h127.0.0.1", &format!("-P{port}"), "-uroot", "-psecret", "-N"]);
        let said = output(client.args(["-e", "CREATE TABLE test.t (n int); SELECT 41 + 1"]));
        assert_eq!(said, "42\n");
    }
    3
}

pub(super) fn redis(port: u16) -> usize {
    for _ in 0..5 {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &port.to_string(), "INCR", "visits"]);
        assert_eq!(output(&mut client), "1\n", "nobody was there before");
    }
    5
}

/// Loads a page.
pub(super) fn curl(port: u16, text: &str) -> usize {
    for _ in 0..3 {
        let mut curl = Command::new("curl");
        let said = output(curl.args(["-sSf", &format!("http://127.0.0.1:{port}/")]));
        assert!(said.contains(text), "{said}");
    }
    3
}

pub(super) fn ab(port: u16) -> usize {
    let mut ab = Command::new("ab");
    let said = output(ab.args(["-q", "-n", "20", "-c", "2", &format!("http://127.0.0.1:{port}/")]));
    assert!(said.contains("Complete requests:      20"), "{said}");
    assert!(said.contains("Failed requests:        0"), "{said}");
    20
}

/// Copies a file in and out, and runs a program: a login each.
pub(super) fn ssh(port: u16) -> usize {
    let file = Scratch::new("file", "over there\n");
    let call = |program: &str, flag: &str, rest: &[&str]| {
        let mut command = Command::new("sshpass");
        command.args(["-p", "secret", program, flag, &port.to_string()]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        output(command.args(["-o", "LogLevel=ERROR"]).args(rest))
    };
    let said = call("ssh", "-p", &["player@127.0.0.1", "id -un; echo 1 > here; cat here"]);
    assert_eq!(said, "player\n1\n");
    call("scp", "-P", &[file.path(), "player@127.0.0.1:copy"]);
    let said = call("ssh", "-p", &["player@127.0.0.1", "ls"]);
    assert_eq!(said, "", "what was copied went to another container");
    3
}

pub(super) fn memcached(port: u16) -> usize {
    for _ in 0..5 {
        let mut client = Client::connect(port);
        client.send("set key 0 0 5\r\nvalue\r\nget key\r\n");
        let said: Vec<_> = (0..4).map(|_| client.line()).collect();
        assert_eq!(said, ["STORED\r", "VALUE key 0 5\r", "value\r", "END\r"]);
        client.send("quit\r\n");
        assert_eq!(client.ending(), Ending::Closed(Vec::new()));
    }
    5
}

pub(super) fn swaks(port: u16) -> usize {
    for _ in 0..3 {
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--helo", "client"]);
        swaks.args(["--from", "somebody@client.test", "--to", "root@localhost"]);
        let said = output(&mut swaks);
        assert!(said.contains("Message accepted for delivery"), "{said}");
    }
    3
}

pub(super) fn challenge(port: u16) -> usize {
    for (answer, said) in [("42", "ganger{a-container-of-your-own}"), ("41", "no")] {
        let mut client = Client::connect(port);
        assert_eq!(client.line(), "What is the answer?");
        client.send(format!("{answer}\n"));
        assert_eq!(client.line(), said);
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    2
}
