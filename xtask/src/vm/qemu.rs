//! The virtual machine while it runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::inside::VERDICT;
use super::system::System;
use crate::child::Interrupts;
use crate::command;

/// All cases take a third of it on two processors that do nothing else.
const LIMIT: Duration = Duration::from_secs(90 * 60);

/// The output of a machine at one of its ports, as it grows.
struct Said {
    file: BufReader<File>,
    /// A line whose end has not come yet.
    line: String,
    verdict: Option<String>,
}

/// Boots the machine, shows its output, and returns 1 unless all went well there.
pub(super) fn run(
    dir: &Path,
    system: &System,
    payload: &Path,
    interrupts: &Interrupts,
) -> Result<ExitCode> {
    let (console, results) = (dir.join("console.log"), dir.join("results.log"));
    for log in [&console, &results] {
        fs::write(log, "")?;
    }
    let mut said =
        Said { file: BufReader::new(File::open(&results)?), line: String::new(), verdict: None };
    let end = Instant::now() + LIMIT;
    let mut qemu = qemu(system, payload, &console, &results);
    let status = interrupts.run_while(&mut qemu, || {
        said.show();
        Instant::now() < end
    })?;
    said.show();
    interrupts.check()?;
    match (said.verdict, status) {
        (Some(verdict), _) if verdict.starts_with(VERDICT.passed) => Ok(ExitCode::SUCCESS),
        (Some(_), _) => Ok(ExitCode::FAILURE),
        (None, Some(_)) if has_panicked(&console)? => bail!(
            "the kernel of the virtual machine panicked, which is no verdict on Ganger: run it \
             again, with a FILTER for what is left; its console: {}",
            console.display()
        ),
        (None, Some(status)) => bail!(
            "the virtual machine ended ({status}) without a verdict; its console: {}",
            console.display()
        ),
        (None, None) => bail!(
            "the virtual machine had not come to a verdict after {} minutes, and was ended; its \
             console: {}",
            LIMIT.as_secs() / 60,
            console.display()
        ),
    }
}

fn has_panicked(console: &Path) -> Result<bool> {
    Ok(String::from_utf8_lossy(&fs::read(console)?).contains("Kernel panic"))
}

/// Emulated in software: where this machine is virtual itself, as usual, there is no KVM, or one
/// that gives up in the first instructions of a kernel ("KVM internal error").
fn qemu(system: &System, payload: &Path, console: &Path, results: &Path) -> Command {
    // The machine ends as well when we are killed.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "TERM", "qemu-system-x86_64"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
    qemu.args(["-smp", "2", "-m", "4096", "-nic", "none"]);
    // Programs that draw random numbers at the start would have to wait for them.
    qemu.args(["-device", "virtio-rng-pci"]);
    qemu.arg("-kernel").arg(&system.kernel).arg("-initrd").arg(&system.initrd);
    // A kernel that panics reboots, and a reboot ends the machine. A kernel did panic here, at an
    // int3 in its scheduler, which is the emulator's doing.
    let kernel = "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.show_status=true";
    qemu.args(["-append", kernel]);
    // Writes to the first disk are forgotten.
    qemu.args(["-drive", &drive(&system.disk, "snapshot=on,cache=unsafe")]);
    qemu.args(["-drive", &drive(payload, "readonly=on")]);
    for log in [console, results] {
        qemu.args(["-serial", &format!("file:{}", log.display())]);
    }
    qemu
}

fn drive(image: &Path, options: &str) -> String {
    // A comma ends the name of a file unless it is doubled.
    let file = image.display().to_string().replace(',', ",,");
    format!("file={file},format=raw,if=virtio,{options}")
}

// === impl Said ===

impl Said {
    /// Passes on the lines that have come since.
    fn show(&mut self) {
        while self.file.read_line(&mut self.line).is_ok_and(|length| length > 0) {
            if !self.line.ends_with('\n') {
                return;
            }
            let line = self.line.trim_end();
            command::say(line);
            if line.starts_with(VERDICT.any) {
                self.verdict = Some(line.to_owned());
            }
            self.line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_comma_in_a_path_is_no_option() {
        let disk = drive(Path::new("/a,readonly=off/disk"), "readonly=on");
        assert_eq!(disk, "file=/a,,readonly=off/disk,format=raw,if=virtio,readonly=on");
    }

    #[test]
    fn a_verdict_is_heard_once_its_line_is_whole() {
        let path = std::env::temp_dir().join(format!("ganger-vm-said-{}", std::process::id()));
        let mut log = File::create(&path).unwrap();
        let file = BufReader::new(File::open(&path).unwrap());
        let mut said = Said { file, line: String::new(), verdict: None };
        log.write_all(b"test a ... ok (0.1 s)\r\ntest result: o").unwrap();
        said.show();
        assert_eq!(said.verdict, None);
        log.write_all(b"k. 1 passed; 0 failed\r\n").unwrap();
        said.show();
        assert_eq!(said.verdict.as_deref(), Some("test result: ok. 1 passed; 0 failed"));
        fs::remove_file(path).unwrap();
    }
}
