//! The system of the virtual machine: a Debian by debootstrap, as an image of its disk.
//! Made once, and never written to.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::child::Interrupts;
use crate::{command, packages, suite};

/// The Debian suite.
const SUITE: &str = "trixie";

/// Packages beside the smallest system. The kernel for clouds has what a virtual machine needs and
/// no more, so that it starts sooner.
const PACKAGES: &[&str] = &[
    "apparmor",
    "ca-certificates",
    "crun",
    "dbus",
    "docker-cli",
    "docker-compose",
    "docker.io",
    "initramfs-tools",
    "iproute2",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "procps",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Where crun is, away from the places where programs are looked for: who wants cells that runc runs
/// must not find it.
pub(super) const CRUN: &str = "/opt/crun/crun";

/// The size of the disk: for the system and for writes of a run, which go elsewhere but need room
/// in it.
const SIZE: &str = "8G";

/// Runs what the second disk has, and ends the machine.
const UNIT: &str = include_str!("system/ganger-vm.service");
/// The second disk.
const FSTAB: &str = "LABEL=ganger-vm /payload ext4 ro 0 0\n";
/// As an installed machine has one: without, systemd takes each start for the first.
const MACHINE_ID: &str = "67616e6765722d766d2d746573742d31\n";

/// Written last, and says of what the rest was made.
const MADE: &str = "made-of";

/// An image of a disk and what starts it.
#[derive(Debug)]
pub(super) struct System {
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

/// Makes the system, unless it is there.
pub(super) fn ensure(dir: &Path, interrupts: &Interrupts) -> Result<System> {
    let system = System {
        disk: dir.join("disk"),
        kernel: dir.join("vmlinuz"),
        initrd: dir.join("initrd.img"),
    };
    // All of what decides what the system is: these two files.
    let wanted = concat!(include_str!("system.rs"), include_str!("system/ganger-vm.service"));
    if fs::read_to_string(dir.join(MADE)).is_ok_and(|made| made == wanted) {
        return Ok(system);
    }
    command::say(&format!("making a Debian {SUITE} in {}: some minutes", dir.display()));
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let root = dir.join("root");
    fs::create_dir_all(&root)?;
    install(dir, &root, interrupts)?;
    settle(&root)?;
    let boot = root.join("boot");
    fs::copy(only(&boot, "vmlinuz-")?, &system.kernel)?;
    fs::copy(only(&boot, "initrd.img-")?, &system.initrd)?;
    image(&root, &system.disk, SIZE, "ganger-root")?;
    fs::remove_dir_all(&root)?;
    fs::write(dir.join(MADE), wanted)?;
    Ok(system)
}

/// A file system with the content of a directory.
pub(super) fn image(dir: &Path, image: &Path, size: &str, label: &str) -> Result<()> {
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.env("PATH", packages::search_path()).args(["-q", "-F", "-t", "ext4", "-L", label, "-d"]);
    mke2fs.args([dir, image]).arg(size);
    command::output_of(mke2fs).map(drop)
}

fn install(dir: &Path, root: &Path, interrupts: &Interrupts) -> Result<()> {
    // Mounts of debootstrap go with it, whatever ends it.
    let mut debootstrap = Command::new("unshare");
    debootstrap.env("PATH", packages::search_path()).args(["--mount", "debootstrap"]);
    debootstrap.args(["--variant=minbase", "--arch=amd64"]);
    debootstrap.arg(format!("--keyring={}", suite::KEYRING));
    debootstrap.arg(format!("--include={}", PACKAGES.join(",")));
    debootstrap.arg(SUITE).arg(root).arg(suite::archive()?);
    let log = fs::File::create(dir.join("debootstrap.log"))?;
    debootstrap.stdout(log.try_clone()?).stderr(log);
    let status = interrupts.run(&mut debootstrap)?;
    interrupts.check()?;
    if !status.success() {
        let log = dir.join("debootstrap.log");
        let said = fs::read_to_string(&log)?;
        let last: Vec<_> = said.lines().rev().take(3).collect();
        bail!(
            "debootstrap failed ({status}): {}; see {} and {}",
            last.into_iter().rev().collect::<Vec<_>>().join("; "),
            log.display(),
            root.join("debootstrap/debootstrap.log").display()
        );
    }
    Ok(())
}

/// Makes the system a machine that runs what it finds on its second disk.
fn settle(root: &Path) -> Result<()> {
    for (file, text) in [
        ("hostname", "ganger-vm\n"),
        ("hosts", "127.0.0.1 localhost ganger-vm\n::1 localhost\n"),
        ("machine-id", MACHINE_ID),
        ("fstab", FSTAB),
        ("resolv.conf", ""),
    ] {
        let file = root.join("etc").join(file);
        // A link could lead to a file of this machine's own.
        if file.symlink_metadata().is_ok() {
            fs::remove_file(&file)?;
        }
        fs::write(file, text)?;
    }
    fs::create_dir_all(root.join("payload"))?;
    fs::create_dir_all(root.join("opt/crun"))?;
    fs::rename(root.join("usr/bin/crun"), root.join(CRUN.trim_start_matches('/')))?;
    let units = root.join("etc/systemd/system");
    fs::write(units.join("ganger-vm.service"), UNIT)?;
    symlink("../ganger-vm.service", units.join("multi-user.target.wants/ganger-vm.service"))?;
    // The machine has no network, nobody to log in, and a life of minutes.
    for unit in [
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "serial-getty@ttyS0.service",
    ] {
        symlink("/dev/null", units.join(unit))?;
    }
    Ok(fs::remove_dir_all(root.join("var/cache/apt/archives"))?)
}

fn only(dir: &Path, start: &str) -> Result<PathBuf> {
    let mut found = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
    };
    found.find(named).with_context(|| format!("no {start}… in {}", dir.display()))
}
