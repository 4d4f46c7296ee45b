//! The built program as a child process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::client::connected_since;
use crate::docker::labelled;
use crate::fleet::{Fleet, Host};
use crate::hang::{self, Lines};
use crate::poll::wait_until;
use crate::records::{ConnEnd, Records};

/// Longer than the program may drain.
const STOP: Duration = Duration::from_secs(60);
/// Until every stock is full, on a machine that has much else to do.
const START: Duration = Duration::from_secs(60);
/// Until the end of a connection is logged.
const END: Duration = Duration::from_secs(30);

/// Until a guardian ends: it looks for [`QUIET`], or for 40 s, whether anything comes to life late,
/// and begins anew when a daemon does not tell.
pub const SURE: Duration = Duration::from_secs(240);

/// How long a guardian looks, of a program whose test does not ask for
/// [more](crate::Config::guarded_in_full).
pub(crate) const QUIET: &str = "5s";

/// Where a configuration of the tests has records of connections written, beside itself: a file
/// whose name has the number of the process instead of this.
pub const ACCESS_LOG: &str = "access-log-of-this-process";

/// A running `ganger`. It is killed when this is dropped, and containers of its
/// instance are removed.
#[derive(Debug)]
pub struct Ganger {
    child: Child,
    instance: String,
    /// Where its configuration is.
    dir: PathBuf,
    /// The name of its file of records there.
    access_log: String,
    hosts: Vec<Host>,
    /// Its output to stdout and stderr, in the order of arrival.
    lines: Arc<Lines>,
    records: Mutex<Records>,
    readers: Vec<JoinHandle<()>>,
    /// Processes that outlive it.
    guardians: Vec<(Pid, OwnedFd)>,
}

// === impl Ganger ===

impl Ganger {
    /// Starts `ganger run` with this configuration, which is to say `instance:
    /// "INSTANCE"`. `program` is `env!("CARGO_BIN_EXE_ganger")`.
    ///
    /// # Panics
    /// When it cannot be started, or the configuration does not name the instance.
    #[must_use]
    pub fn run(program: &str, fleet: &Fleet, instance: &str, config: &str) -> Self {
        Self::run_with(program, fleet, instance, config, &["run"], &[], Stdio::null())
    }

    pub(crate) fn run_with(
        program: &str,
        fleet: &Fleet,
        instance: &str,
        config: &str,
        args: &[&str],
        env: &[(String, String)],
        stdin: Stdio,
    ) -> Self {
        assert!(config.contains(&format!("{instance:?}")), "the config lacks {instance:?}");
        Self::spawn(program, fleet.all(), instance, Some(config), args, env, stdin)
    }

    /// Starts another verb of it, with `--config FILE` at the end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        program: &str,
        fleet: &Fleet,
        instance: &str,
        config: &str,
        args: &[&str],
    ) -> Self {
        Self::spawn(program, fleet.all(), instance, Some(config), args, &[], Stdio::null())
    }

    /// Starts another verb of it, which reads no configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_bare(program: &str, fleet: &Fleet, instance: &str, args: &[&str]) -> Self {
        Self::spawn(program, fleet.all(), instance, None, args, &[], Stdio::null())
    }

    /// Starts a verb of it that is to meet no engine of the fleet.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_alone(program: &str, instance: &str, config: &str, args: &[&str]) -> Self {
        Self::spawn(program, &[], instance, Some(config), args, &[], Stdio::null())
    }

    fn spawn(
        program: &str,
        hosts: &[Host],
        instance: &str,
        config: Option<&str>,
        args: &[&str],
        env: &[(String, String)],
        stdin: Stdio,
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Processes of one instance have one directory.
        let access_log = format!("access-{}.jsonl", NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("ganger-test-{instance}"));
        fs::create_dir_all(&dir).expect("a directory for the configuration");
        let mut command = Command::new(program);
        command.args(args).env_remove("GANGER_CONFIG_FILE");
        if let Some(config) = config {
            let path = dir.join("ganger.ron");
            fs::write(&path, config.replace(ACCESS_LOG, &access_log)).expect("the configuration");
            command.arg("--config").arg(&path);
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let lines = Arc::default();
        hang::note(instance, Arc::downgrade(&lines));
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &lines),
            collect(child.stderr.take().expect("piped"), &lines),
        ];
        let (hosts, records) = (hosts.to_vec(), Mutex::new(Records::at(dir.join(&access_log))));
        Self {
            child,
            instance: instance.to_owned(),
            dir,
            access_log,
            hosts,
            lines,
            records,
            readers,
            guardians: Vec::new(),
        }
    }

    /// Writes another configuration to its file and has it read.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn reload(&self, config: &str) {
        let config = config.replace(ACCESS_LOG, &self.access_log);
        fs::write(self.dir.join("ganger.ron"), config).expect("the configuration");
        self.signal(Signal::HUP);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its output so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// The lines of its output so far, without so many at the beginning.
    #[must_use]
    pub fn lines_after(&self, count: usize) -> Vec<String> {
        self.lines.lock().get(count..).unwrap_or_default().to_vec()
    }

    /// Waits for a line for which `wanted` is true, also among those that are
    /// there already, and returns the first.
    ///
    /// # Panics
    /// When there is none by the deadline, or it ended without one.
    pub fn wait_for_line(&self, deadline: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        wait_until(deadline, "ganger prints the line", || {
            // Looked at first, so that nothing is printed between the two.
            let ended = self.readers.iter().all(JoinHandle::is_finished);
            found = self.lines.lock().iter().find(|line| wanted(line)).cloned();
            assert!(found.is_some() || !ended, "ganger ended without printing the line");
            found.is_some()
        });
        found.expect("waited for")
    }

    /// Waits until it says that a service's stock is full. From then on every
    /// daemon that can be reached launches the service.
    ///
    /// # Panics
    /// As [`Ganger::wait_for_line`].
    pub fn wait_until_stocked(&self, service: &str) {
        let field = format!(" service={service} ");
        self.wait_for_line(START, |l| l.contains("stock is full") && l.contains(&field));
    }

    /// The label of this run's containers, as `key=value`.
    ///
    /// # Panics
    /// When it does not say which run it is.
    #[must_use]
    pub fn boot(&self) -> String {
        let line = self.wait_for_line(START, |line| line.contains(" starting "));
        let boot = line.split(' ').find_map(|word| word.strip_prefix("boot="));
        format!("io.ganger.boot={}", boot.expect("which run it is").trim_matches('"'))
    }

    /// The records of connections that have ended so far, without so many at the beginning. The
    /// program's configuration has to have them written, as [`Config`](crate::Config) does.
    #[must_use]
    pub fn ends_after(&self, count: usize) -> Vec<ConnEnd> {
        let mut records = self.records.lock();
        records.read();
        records.ends.get(count..).unwrap_or_default().to_vec()
    }

    /// How many connections that meet a condition have ended so far.
    #[must_use]
    pub fn count_ends(&self, so: impl Fn(&ConnEnd) -> bool) -> usize {
        let mut records = self.records.lock();
        records.read();
        records.ends.iter().filter(|end| so(end)).count()
    }

    /// Waits until so many connections have ended, and returns their records.
    ///
    /// # Panics
    /// When fewer have ended by the deadline, or more.
    pub fn wait_for_ends(&self, count: usize) -> Vec<ConnEnd> {
        let mut ends = Vec::new();
        wait_until(END, "there is a record of every connection", || {
            ends = self.ends_after(0);
            ends.len() >= count
        });
        assert_eq!(ends.len(), count, "one record for each connection");
        ends
    }

    /// The record of a client's connection.
    ///
    /// # Panics
    /// When there is none by the deadline.
    pub fn wait_for_end(&self, client: u16) -> ConnEnd {
        let address = format!("127.0.0.1:{client}");
        let since = connected_since(client, &self.ports()).unwrap_or_default();
        let is_its = |end: &&ConnEnd| {
            end.field("client") == address && end.field("timestamp") >= since.as_str()
        };
        let mut end = None;
        wait_until(END, &format!("there is a record of {address}"), || {
            let mut records = self.records.lock();
            records.read();
            end = records.ends.iter().find(is_its).cloned();
            end.is_some()
        });
        end.expect("waited for")
    }

    /// The ports that its services listen on.
    fn ports(&self) -> Vec<u16> {
        let lines = self.lines.lock();
        let addresses = lines.iter().filter(|line| line.contains(" listening service="));
        let port = |line: &String| line.rsplit_once(':')?.1.trim().parse().ok();
        addresses.filter_map(port).collect()
    }

    /// How many of the lines that it has printed so far contain this.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines.lock().iter().filter(|line| line.contains(text)).count()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("ganger lives");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not by the deadline.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(deadline, "ganger ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        // Its guardian may print still.
        self.wait_for_guardian(SURE);
        status.expect("waited for")
    }

    /// Ends it as an operator would, with SIGTERM; returns its exit code.
    ///
    /// # Panics
    /// When it does not end, is killed by a signal, or leaves a container behind.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        let status = self.wait(STOP);
        self.assert_nothing_left();
        status.code().unwrap_or_else(|| panic!("ganger was killed: {status}"))
    }

    /// Kills it, as the kernel does when memory runs out: it cannot clean up.
    /// Its guardian lives on, and what that prints is collected.
    ///
    /// # Panics
    /// When it has ended.
    pub fn kill(&mut self) {
        self.guardians = children(self.child.id());
        self.signal(Signal::KILL);
        wait_until(STOP, "ganger is dead", || self.child.try_wait().expect("a child").is_some());
    }

    /// Waits until what it has left running has ended: nobody can print any more.
    ///
    /// # Panics
    /// When that has not by the deadline.
    pub fn wait_for_guardian(&mut self, deadline: Duration) {
        wait_until(deadline, "the guardian ends", || {
            self.readers.iter().all(JoinHandle::is_finished)
        });
    }

    /// The processes that it has started and that run: its guardian.
    #[must_use]
    pub fn children(&self) -> Vec<Pid> {
        children(self.child.id()).into_iter().map(|(pid, _)| pid).collect()
    }

    /// Whether everything that it has left running has ended, once it has ended itself.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }

    /// Fails when any daemon has a container of its instance, in whatever state.
    ///
    /// # Panics
    /// When one has.
    pub fn assert_nothing_left(&self) {
        let left = labelled(&self.hosts, &self.label());
        assert!(left.is_empty(), "left behind: {left:#?}");
        for host in &self.hosts {
            let left = host.try_networks(&self.label());
            assert_eq!(left, Ok(Vec::new()), "networks left behind on {}", host.name);
            let left = host.try_volumes(&self.label());
            assert_eq!(left, Ok(Vec::new()), "volumes left behind on {}", host.name);
        }
    }

    /// The label that all containers of its instance bear, as `key=value`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("io.ganger.instance={}", self.instance)
    }

    fn process(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok();
        pid.and_then(Pid::from_raw).expect("a process id")
    }
}

impl Drop for Ganger {
    fn drop(&mut self) {
        // Nothing here may panic: it may run because something has.
        self.guardians.extend(children(self.child.id()));
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A killed program leaves its socket to the next start.
        let _ = fs::remove_file(format!("/run/ganger/{}.sock", self.instance));
        // Guardians would go on until long after the test.
        for (_, guardian) in &self.guardians {
            let _ = pidfd_send_signal(guardian, Signal::TERM);
        }
        if thread::panicking() {
            let printed = self.lines.lock().join("\n");
            eprintln!("--- ganger {} printed:\n{printed}\n---", self.instance);
        }
        let filter = format!("label={}", self.label());
        for host in &self.hosts {
            let list = host.try_docker(&["ps", "--all", "--quiet", "--filter", &filter]);
            for id in list.unwrap_or_default().lines() {
                let _ = host.try_docker(&["rm", "--force", "--volumes", id]);
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The children of a process that have not ended.
fn children(parent: u32) -> Vec<(Pid, OwnedFd)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let process = Pid::from_raw(pid)?;
        // Whose it is from here on, its number cannot change.
        let handle = pidfd_open(process, PidfdFlags::empty()).ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, of) = (fields.next()?, fields.next()?);
        (state != "Z" && of == parent.to_string()).then_some((process, handle))
    })
    .collect()
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Lines>) -> JoinHandle<()> {
    let lines = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            lines.lock().push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
