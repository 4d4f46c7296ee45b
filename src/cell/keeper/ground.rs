//! The keeper's mount namespace, in which every cell has one of its own.
//!
//! A cell's file systems are mounted in a namespace that only the runtime is in while it makes the
//! cell, and the cell after it. So nothing has to be unmounted: they go with the cell, and with
//! everything if the keeper is killed. The machine's own table of mounts never has any of them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::chdir;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::super::message::Pattern;
use super::super::specification::{ID, NAME, PLACE};

/// Where the keeper has its files, in a file system of its own in memory.
const BASE: &str = "/run/ganger-cells";
/// Where version 2 of control groups is mounted beside version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// How much of an id is a host name, as Docker does it.
const NAME_LENGTH: usize = 12;

/// The keeper's mount namespace.
#[derive(Debug)]
pub(super) struct Ground {
    home: File,
}

/// Leaves a namespace for a new one.
pub(super) fn unshare(what: UnshareFlags) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "unsound only for descriptors that threads stop sharing, which is never asked for; \
                  its successor needs unsafe code"
    )]
    Ok(rustix::thread::unshare(what)?)
}

/// The place of the runtime's own files about its containers.
pub(super) fn state() -> PathBuf {
    Path::new(BASE).join("state")
}

/// The place of the file with the number of a cell's first process.
pub(super) fn pid_file(cell: &str) -> PathBuf {
    Path::new(BASE).join("pids").join(cell)
}

/// The place of the runtime's log of a cell.
pub(super) fn log_file(cell: &str) -> PathBuf {
    Path::new(BASE).join("logs").join(cell)
}

fn layers(pattern: u64) -> PathBuf {
    Path::new(BASE).join("layers").join(pattern.to_string())
}

// === impl Ground ===

impl Ground {
    /// Makes a mount namespace for this process, which gets what the machine mounts and unmounts
    /// and gives it nothing, and in it a place for the keeper's files.
    ///
    /// # Errors
    /// This process lacks the rights of root.
    pub(super) fn new() -> io::Result<Self> {
        unshare(UnshareFlags::NEWNS)?;
        let passed_down = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", passed_down)?;
        // That of the namespace of processes that this one is the first of.
        let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", "/proc", "proc", safe, None)?;
        fs::create_dir_all(BASE)?;
        mount("ganger", BASE, "tmpfs", safe, Some(c"mode=0700"))?;
        for directory in ["cell", "layers", "logs", "pids", "state"] {
            fs::create_dir(Path::new(BASE).join(directory))?;
        }
        // crun refuses both versions of control groups beside each other. Covered, there is one, and
        // it makes directories here; unmounted, it would make them in what is below.
        if Path::new(UNIFIED).exists() {
            mount("ganger", UNIFIED, "tmpfs", safe, Some(c"mode=0755"))?;
        }
        Ok(Self { home: File::open("/proc/self/ns/mnt")? })
    }

    /// Links the layers of a pattern under short names: what is mounted of them has to be told in one
    /// page.
    ///
    /// # Errors
    /// A layer is not there.
    pub(super) fn adopt(&self, number: u64, pattern: &Pattern) -> io::Result<()> {
        let links = layers(number);
        fs::create_dir(&links)?;
        for (place, layer) in pattern.layers.iter().enumerate() {
            if !layer.is_dir() {
                let what = format!("its layer {} is not there", layer.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
            symlink(layer, links.join(place.to_string()))?;
        }
        Ok(())
    }

    /// Forgets the layers of a pattern.
    pub(super) fn forget(&self, pattern: u64) {
        _ = fs::remove_dir_all(layers(pattern));
    }

    /// Lays out the files of a cell in a mount namespace of its own, and has its runtime started
    /// there.
    ///
    /// # Errors
    /// Something could not be mounted, written or started.
    pub(super) fn lay_out<T>(
        &self,
        pattern: (u64, &Pattern),
        cell: &str,
        start: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        unshare(UnshareFlags::NEWNS)?;
        let started = fill(pattern, cell).and_then(|()| start());
        let home = Some(LinkNameSpaceType::Mount);
        if let Err(error) = move_into_link_name_space(self.home.as_fd(), home) {
            // Whatever was mounted from now on would be in the way of the next cell.
            panic!("the keeper cannot leave a cell's namespace: {error}");
        }
        started
    }
}

fn fill((number, pattern): (u64, &Pattern), cell: &str) -> io::Result<()> {
    let place = Path::new(PLACE);
    let size = pattern.size.map_or_else(|| "50%".to_owned(), |size| size.to_string());
    let options = CString::new(format!("mode=0700,size={size}"))?;
    mount("ganger", PLACE, "tmpfs", MountFlags::empty(), Some(&*options))?;
    for directory in ["root", "upper", "work"] {
        fs::create_dir(place.join(directory))?;
    }
    // The root directory of an overlay has the mode of its uppermost layer.
    fs::set_permissions(place.join("upper"), fs::Permissions::from_mode(0o755))?;
    let name = &cell[..cell.len().min(NAME_LENGTH)];
    let with_names = |text: &str| text.replace(NAME, name).replace(ID, cell);
    fs::write(place.join("config.json"), with_names(&pattern.spec))?;
    for (file, content) in &pattern.files {
        fs::write(place.join(file), with_names(content))?;
        fs::set_permissions(place.join(file), fs::Permissions::from_mode(0o644))?;
    }
    let lower: Vec<_> = (0..pattern.layers.len()).map(|number| number.to_string()).collect();
    let options = CString::new(format!(
        "lowerdir={},upperdir={PLACE}/upper,workdir={PLACE}/work",
        lower.join(":")
    ))?;
    chdir(layers(number))?;
    mount("overlay", place.join("root"), "overlay", MountFlags::empty(), Some(&*options))?;
    Ok(chdir("/")?)
}
