//! An image of a real PostgreSQL that starts as the official one does, made of what
//! Debian's packages have put on this machine or `cargo xtask fleet up` has fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ganger::image::{File, Image, archive};

/// The name of the image.
pub const POSTGRES: &str = "ganger.test/postgres:1";

/// Where each version is, below a root.
const VERSIONS: &str = "usr/lib/postgresql";
/// Programs that the start script needs besides, in PATH.
const TOOLS: &[&str] =
    &["bash", "cat", "chmod", "chown", "env", "id", "mkdir", "rm", "setpriv", "sh"];
/// The modules that every cluster has; those for other encodings are many.
const MODULES: &[&str] = &["dict_snowball.so", "plpgsql.so", "euc2004_sjis2004.so"];

/// A start script that works as the official image's, in two phases: the server of the first
/// listens on a Unix socket only, and makes the database.
const ENTRYPOINT: &str = r#"#!/bin/bash
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --no-sync --no-locale --encoding=UTF8
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    psql --no-password --no-psqlrc -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE $POSTGRES_DB"
    pg_ctl -D "$PGDATA" -m fast -w stop
    echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
"#;

/// The bytes of a file and its mode, by its path in the image.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// The archive of the image that [`POSTGRES`] names.
///
/// # Panics
/// When there is no PostgreSQL to make it of.
#[must_use]
pub fn postgres_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let files = files();
        let files: Vec<_> = files
            .iter()
            .map(|(path, (mode, content))| File { path, mode: *mode, content })
            .collect();
        archive(&Image {
            reference: POSTGRES,
            files: &files,
            entrypoint: &["/entrypoint"],
            command: &["postgres"],
            port: Some(5432),
            env: &[("PATH", "/usr/bin"), ("PGDATA", "/var/lib/postgresql/data")],
            ..Image::default()
        })
    })
}

/// A client program, such as `psql`, and where its libraries are.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn postgres_client(name: &str) -> Command {
    let (root, version) = installed();
    let mut client = Command::new(version.join("bin").join(name));
    client.env("LD_LIBRARY_PATH", libraries_of(&root));
    client
}

/// Where a PostgreSQL is: the root of its files, and the directory of its version.
fn installed() -> (PathBuf, PathBuf) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres/root");
    for root in [PathBuf::from("/"), target] {
        let versions = fs::read_dir(root.join(VERSIONS)).into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions.map(|entry| entry.path()).collect();
        versions.sort();
        let is_server = |version: &PathBuf| version.join("bin/initdb").is_file();
        if let Some(version) = versions.into_iter().rfind(is_server) {
            return (root, version);
        }
    }
    panic!("this test needs PostgreSQL: `cargo xtask fleet up` fetches it, where apt-get is");
}

fn libraries_of(root: &Path) -> String {
    let arch = std::env::consts::ARCH;
    let below = |path: &str| root.join(path).display().to_string();
    [below(&format!("usr/lib/{arch}-linux-gnu")), below(&format!("lib/{arch}-linux-gnu"))].join(":")
}

fn files() -> Files {
    let (root, version) = installed();
    let mut files = Files::new();
    let mut programs = BTreeSet::new();
    for name in ["postgres", "initdb", "pg_ctl", "pg_isready", "psql"] {
        programs.insert(version.join("bin").join(name));
    }
    for name in MODULES {
        programs.insert(version.join("lib").join(name));
    }
    // Each program looks for its neighbours where it is itself, so all stay at their places.
    let inside = |path: &Path| {
        let path = path.strip_prefix(&root).unwrap_or(path);
        Path::new("/").join(path).display().to_string()
    };
    for program in &programs {
        add(&mut files, inside(program), program);
    }
    let share = Path::new("usr/share/postgresql").join(version.file_name().expect("a version"));
    add_all(&mut files, &root.join(share), &inside);
    for tool in TOOLS {
        let path = format!("/usr/bin/{tool}");
        programs.insert(PathBuf::from(&path));
        add(&mut files, path.clone(), Path::new(&path));
    }
    for library in linked(&programs, &libraries_of(&root)) {
        add(&mut files, inside(&library), &library);
    }
    let version = inside(&version);
    let text = |files: &mut Files, path: &str, mode, text: &str| {
        files.insert(path.to_owned(), (mode, text.as_bytes().to_vec()));
    };
    for name in ["postgres", "initdb", "pg_ctl", "pg_isready", "psql"] {
        let script = format!("#!/bin/sh\nexec {version}/bin/{name} \"$@\"\n");
        text(&mut files, &format!("/usr/bin/{name}"), 0o755, &script);
    }
    let shells = ["/bin/sh", "/bin/bash"];
    for shell in shells {
        add(&mut files, shell.to_owned(), Path::new(shell));
    }
    text(&mut files, "/entrypoint", 0o755, ENTRYPOINT);
    let users = "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n";
    text(&mut files, "/etc/passwd", 0o644, users);
    text(&mut files, "/etc/group", 0o644, "root:x:0:\npostgres:x:999:\n");
    text(&mut files, "/tmp/.keep", 0o644, "");
    files
}

fn add(files: &mut Files, path: String, source: &Path) {
    let content = fs::read(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let mode = fs::metadata(source).expect("a file that was read").permissions().mode() & 0o777;
    files.insert(path, (mode, content));
}

fn add_all(files: &mut Files, dir: &Path, inside: &impl Fn(&Path) -> String) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => add_all(files, &path, inside),
            Ok(_) => add(files, inside(&path), &path),
            // A link to what another package has.
            Err(_) => {}
        }
    }
}

/// The libraries that programs need, as ldd(1) finds them.
fn linked(programs: &BTreeSet<PathBuf>, libraries: &str) -> BTreeSet<PathBuf> {
    let mut ldd = Command::new("ldd");
    let output = ldd.args(programs).env("LD_LIBRARY_PATH", libraries).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("not found"), "libraries that PostgreSQL needs are missing:\n{text}");
    let paths = text.lines().flat_map(|line| line.split_whitespace());
    paths.filter(|word| word.starts_with('/') && !word.ends_with(':')).map(PathBuf::from).collect()
}
