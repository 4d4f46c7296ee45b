//! Daemons that run short of something that all their containers share, or otherwise than
//! the fleet's.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use crate::fixture::fixture_image;
use crate::fleet::{Fleet, Host};
use crate::poll::unique;

/// A host whose dockerd runs otherwise, until this is dropped: then it is started again
/// as it was.
#[derive(Debug)]
#[must_use = "the daemon is as before when this is dropped"]
pub struct Altered {
    host: Host,
    /// The range of ports that it had.
    ports: Option<String>,
    /// Where its small disk is.
    disk: Option<PathBuf>,
}

/// A file that takes what is left of a disk, until this is dropped.
#[derive(Debug)]
#[must_use = "there is room again when this is dropped"]
pub struct Filler {
    path: PathBuf,
    file: File,
}

// === impl Fleet ===

impl Fleet {
    /// Starts a host's dockerd again with so many ports to publish on.
    ///
    /// # Panics
    /// For host 0, when it does not start, or the host is not this test's alone.
    pub fn few_ports(&self, host: &Host, count: u16) -> Altered {
        const FIRST: u16 = 40_000;

        let mut altered = self.alter(host);
        altered.ports = Some(host.ports(None));
        host.ports(Some(&format!("{FIRST} {}", FIRST + count - 1)));
        assert!(host.start_dockerd(&host.command), "dockerd of {}", host.name);
        altered
    }

    /// Starts a host's dockerd again with a disk of so many MiB, on which there is the
    /// fixture and nothing else.
    ///
    /// # Panics
    /// As [`Fleet::few_ports`].
    pub fn small_disk(&self, host: &Host, size: u32) -> Altered {
        let mut altered = self.alter(host);
        let root = std::env::temp_dir().join(unique("ganger-disk"));
        altered.disk = Some(root.clone());
        fs::create_dir_all(&root).expect("a directory");
        let options = format!("size={size}m");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&root).status();
        assert!(done.expect("mount").success(), "a disk in {}", root.display());
        host.start_with("--data-root=", &root.display().to_string());
        host.load(fixture_image().1);
        altered
    }

    /// Kills a host's dockerd and starts another one in its place, which has the fixture
    /// and knows of no container. Those of the killed one run on until this is dropped.
    ///
    /// # Panics
    /// As [`Fleet::few_ports`].
    pub fn another(&self, host: &Host) -> Altered {
        self.kill_daemon(host).stay();
        self.small_disk(host, 64)
    }

    /// Starts a host's dockerd again so that it leaves published ports to the kernel alone.
    ///
    /// # Panics
    /// As [`Fleet::few_ports`].
    pub fn without_proxy(&self, host: &Host) -> Altered {
        let altered = self.alter(host);
        host.start_with("--userland-proxy=", "false");
        altered
    }

    /// From here on, a panic leaves nothing behind.
    fn alter(&self, host: &Host) -> Altered {
        self.assert_taken(host);
        // Loaded later, onto another disk, they would be taken to be there after it.
        self.load_images();
        host.stop_dockerd();
        Altered { ports: None, disk: None, host: host.clone() }
    }
}

// === impl Host ===

impl Host {
    /// Starts its dockerd with another value for an option that it is started with.
    fn start_with(&self, option: &str, value: &str) {
        let mut command = self.command.clone();
        let own = command.iter_mut().find(|word| word.starts_with(option)).expect("the option");
        *own = format!("{option}{value}");
        assert!(self.start_dockerd(&command), "dockerd of {}", self.name);
    }

    /// The range of ports that its kernel chooses from; changes it.
    fn ports(&self, range: Option<&str>) -> String {
        let file = "/proc/sys/net/ipv4/ip_local_port_range";
        let script = range.map_or(format!("cat {file}"), |range| format!("echo {range} > {file}"));
        let net = format!("--net=/run/netns/{}", self.netns.as_ref().expect("a namespace"));
        let output = Command::new("nsenter").args([&net, "sh", "-c", &script]).output();
        let output = output.expect("nsenter");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ports of {}: {said}", self.name);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

// === impl Altered ===

impl Altered {
    /// Takes what is left of its small disk.
    ///
    /// # Panics
    /// When it has none, or it does not get full.
    pub fn fill(&self) -> Filler {
        let path = self.disk.as_ref().expect("a small disk").join("filler");
        let file = File::create(&path).expect("a file");
        let filler = Filler { path, file };
        filler.fill();
        filler
    }
}

impl Drop for Altered {
    fn drop(&mut self) {
        let host = &self.host;
        host.stop_dockerd();
        if let Some(range) = &self.ports {
            host.ports(Some(range));
        }
        if let Some(disk) = &self.disk {
            // The mounts below it go as well.
            let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(disk).status();
            let _ = fs::remove_dir(disk);
        }
        let answers = host.start_dockerd(&host.command);
        // A panic while one unwinds would end the whole run.
        assert!(std::thread::panicking() || answers, "dockerd of {}", host.name);
    }
}

// === impl Filler ===

impl Filler {
    /// Takes what has become free since: removals go on.
    ///
    /// # Panics
    /// When the disk does not get full.
    pub fn fill(&self) {
        loop {
            match (&self.file).write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the filler: {error}"),
            }
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
