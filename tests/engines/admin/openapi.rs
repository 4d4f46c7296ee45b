//! Schemathesis asks a running Ganger for what its OpenAPI description allows, and what it forbids.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ganger_test_support::{Config, Fleet, free_port, unique};

use crate::GANGER;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// These paths are asked whether it serves: their 503 is no mistake.
const READINESS: &str = "[[operations]]\n\
    include-path-regex = \"^/readyz\"\n\
    checks.not_a_server_error.expected-statuses = [\"2xx\", \"4xx\", \"503\"]\n";

/// Asks by all operations but the one that stops the process.
fn schemathesis(address: &str, dir: &Path) -> Command {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    assert!(
        program.is_file(),
        "there is no {}: `cargo xtask test` puts it there from PyPI, and says why where it cannot",
        program.display()
    );
    let config = dir.join("schemathesis.toml");
    fs::write(&config, READINESS).unwrap();
    let mut command = Command::new(program);
    command.arg("--config-file").arg(config).arg("run");
    command.arg(format!("http://{address}/openapi.json")).current_dir(dir);
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.args(["--exclude-path", "/api/v1/drain", "--checks", "all", "--no-color"]);
    // A fixed seed: its choice of requests must not depend on luck.
    command.args(["--seed", "1", "--max-examples", "10", "--max-time", "90"]);
    command.args(["--request-timeout", "30", "--suppress-health-check", "all"]);
    command
}

#[test]
fn every_answer_is_as_it_is_described() {
    let fleet = Fleet::shared();
    let dir = std::env::temp_dir().join(unique("ganger-openapi"));
    fs::create_dir_all(&dir).unwrap();
    let token = dir.join("token");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let config = Config::new("described").daemon(fleet.hosts()[0].daemon(6));
    let config = config.fixture("echo", "warm: 1, max: 3", &[]);
    let config = config.with(&format!("admin: (listen: {address:?}, token_file: {token:?})"));
    let mut ganger = config.serve(GANGER, &fleet);
    let output = schemathesis(&address, &dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // Only the excluded operation was left out.
    assert!(said.contains("27/28"), "{said}");
    assert_eq!(ganger.stop(), 0);
    fs::remove_dir_all(dir).unwrap();
}
