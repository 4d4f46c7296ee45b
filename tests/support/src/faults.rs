//! Faults of a daemon. Each but death ends with its guard.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fleet::{Fleet, Host};
use crate::poll::{step, wait_until};

const START: Duration = Duration::from_secs(60);

/// Processes that were stopped, until this is dropped.
#[derive(Debug)]
#[must_use = "the daemon thaws when this is dropped"]
pub struct Frozen(Vec<Pid>);

/// A host that was cut off the network, until this is dropped.
#[derive(Debug)]
#[must_use = "the link comes back when this is dropped"]
pub struct Cut(Host);

/// A dockerd that has ended; it is started again when this is dropped.
#[derive(Debug)]
#[must_use = "the daemon comes back when this is dropped"]
pub struct Gone(Host);

// === impl Fleet ===

impl Fleet {
    /// Stops a dockerd with SIGSTOP: connections to it succeed, nothing answers.
    ///
    /// # Panics
    /// When it does not run, or the host is not this test's alone.
    pub fn freeze(&self, host: &Host) -> Frozen {
        self.freeze_all(host, vec![host.server().expect("its pidfile")])
    }

    /// Stops a containerd with SIGSTOP: the API answers to what needs none of
    /// it, and hangs on starts and removals.
    ///
    /// # Panics
    /// As [`Fleet::freeze`].
    pub fn freeze_containerd(&self, host: &Host) -> Frozen {
        self.freeze_all(host, vec![Pid::from_raw(host.containerd_pid).expect("its containerd")])
    }

    fn freeze_all(&self, host: &Host, pids: Vec<Pid>) -> Frozen {
        self.assert_taken(host);
        let frozen = Frozen(pids);
        stop(&frozen.0);
        frozen
    }

    /// Takes a host's link down, at its own end: nothing comes back from it. Its
    /// socket works on.
    ///
    /// # Panics
    /// For host 0, which has no link, or when the host is not this test's alone.
    pub fn cut(&self, host: &Host) -> Cut {
        self.assert_taken(host);
        // With this machine's end down, its packets would take the default route.
        let netns = host.netns.as_ref().expect("a link");
        ip(&["-n", netns, "link", "set", "eth0", "down"]);
        Cut(host.clone())
    }

    /// Kills a dockerd. Its containers live on as the kernel sees it.
    ///
    /// # Panics
    /// When it does not run, or the host is not this test's alone.
    pub fn kill_daemon(&self, host: &Host) -> Gone {
        self.end(host, Signal::KILL)
    }

    /// Ends a dockerd in good order: it stops its containers first.
    ///
    /// # Panics
    /// When it does not end, or the host is not this test's alone.
    pub fn stop_daemon(&self, host: &Host) -> Gone {
        self.end(host, Signal::TERM)
    }

    fn end(&self, host: &Host, signal: Signal) -> Gone {
        self.assert_taken(host);
        let pid = host.server().expect("its pidfile");
        kill_process(pid, signal).expect("a process");
        wait_until(START, "the dockerd is gone", || !lives(pid));
        Gone(host.clone())
    }

    /// Lets everything go on that was stopped by a test which was killed itself.
    pub(crate) fn thaw(&self) {
        for host in self.all() {
            let containerd = Pid::from_raw(host.containerd_pid);
            for pid in host.server().into_iter().chain(containerd) {
                // A process that has ended needs none of it.
                let _ = kill_process(pid, Signal::CONT);
            }
        }
    }

    /// Fails unless the test has this host for itself.
    pub(crate) fn assert_taken(&self, host: &Host) {
        let is_ours = self.all().iter().any(|own| own.name == host.name);
        assert!(self.exclusive && is_ours, "faults are for hosts that a test took: Fleet::take()");
    }
}

// === impl Host ===

impl Host {
    /// The process that answers at its socket, as its engine has written it down.
    #[must_use]
    pub fn server(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.pidfile).ok()?;
        text.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// Kills the shim of a container, the parent of its process. The engine is
    /// to see to the rest.
    ///
    /// # Panics
    /// When the container does not run.
    pub fn kill_shim(&self, id: &str) {
        let pid = self.process(id);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        let parent = parent.expect("a parent");
        let name = fs::read_to_string(format!("/proc/{parent}/comm")).expect("a process");
        assert!(name.starts_with("containerd-shim"), "the parent of {pid} is {name}");
        let parent = parent.parse().ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(parent, Signal::KILL).expect("a process");
    }

    /// Stops the process of a container without the engine's knowing.
    ///
    /// # Panics
    /// When the container does not run.
    pub fn freeze(&self, id: &str) {
        let pid = Pid::from_raw(self.process(id)).expect("a process id");
        stop(&[pid]);
    }

    /// The process of a container that runs.
    fn process(&self, id: &str) -> i32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", id]).parse();
        pid.ok().filter(|pid| *pid > 0).expect("a process")
    }

    /// Says something to the port that a container listens on, from within it.
    ///
    /// # Panics
    /// When the container does not listen.
    pub fn say(&self, id: &str, word: &str) {
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/7000; echo {word} >&3");
        let net = format!("--net=/proc/{}/ns/net", self.process(id));
        let output = Command::new("nsenter").args([&net, "bash", "-c", &script]).output();
        let output = output.expect("nsenter");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the container of {}: {said}", self.name);
    }

    /// Starts its dockerd; says whether it answers in time.
    pub(crate) fn start_dockerd(&self, command: &[String]) -> bool {
        // dockerd refuses to start when any process has the number of the dead one.
        let _ = fs::remove_file(&self.pidfile);
        let log = OpenOptions::new().append(true).open(&self.log).expect("its log");
        let mut daemon = Command::new(&command[0]);
        daemon.args(&command[1..]).process_group(0).stdin(Stdio::null());
        daemon.stderr(log.try_clone().expect("its log")).stdout(log);
        let mut daemon = daemon.spawn().expect("dockerd");
        let end = Instant::now() + START;
        loop {
            let ended = daemon.try_wait().expect("a child").is_some();
            let answers = self.try_docker(&["version"]).is_ok();
            if answers || ended || Instant::now() > end {
                return answers;
            }
            step();
        }
    }

    /// Ends its dockerd in good order, if it runs.
    pub(crate) fn stop_dockerd(&self) {
        let text = fs::read_to_string(&self.pidfile).unwrap_or_default();
        if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
            let end = Instant::now() + START;
            while lives(pid) && Instant::now() < end {
                step();
            }
        }
    }
}

/// Whether a process has not ended; a zombie has.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| state(&stat).is_some_and(|state| state != 'Z'))
}

/// Stops processes with SIGSTOP, all of each: a signal is sent at once, but each thread
/// stops when it gets to see it, and may answer somebody until then.
pub(crate) fn stop(pids: &[Pid]) {
    for pid in pids {
        kill_process(*pid, Signal::STOP).expect("a process");
    }
    wait_until(START, "every thread has stopped", || {
        let stopped = |threads: Vec<char>| !threads.is_empty() && threads.iter().all(|s| *s == 'T');
        pids.iter().all(|pid| stopped(threads(*pid)))
    });
}

/// The states of a process's threads.
fn threads(pid: Pid) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let stats = threads.into_iter().flatten().flatten().map(|thread| thread.path().join("stat"));
    stats.filter_map(|stat| state(&fs::read_to_string(stat).ok()?)).collect()
}

/// The field after the name, which is in parentheses and may hold some itself.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", args.join(" "));
}

// === impl Frozen ===

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // A panic while one unwinds would end the whole run, and a process
            // that has died meanwhile is thawed as well.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

// === impl Cut ===

impl Drop for Cut {
    fn drop(&mut self) {
        if let (Some(netns), Some(gateway)) = (&self.0.netns, &self.0.gateway) {
            ip(&["-n", netns, "link", "set", "eth0", "up"]);
            // The route went with the link.
            ip(&["-n", netns, "route", "replace", "default", "via", gateway]);
        }
    }
}

// === impl Gone ===

impl Gone {
    /// Leaves it to somebody else to start it again.
    pub(crate) fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Gone {
    /// Waits until it answers.
    fn drop(&mut self) {
        let host = &self.0;
        let answers = host.start_dockerd(&host.command);
        // A panic while one unwinds would end the whole run.
        let answers = std::thread::panicking() || answers;
        assert!(answers, "dockerd of {}; see {}", host.name, host.log.display());
    }
}
