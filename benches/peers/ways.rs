//! The ways to the backend: a process for each proxy.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use ganger::proxy::Workers;

use crate::proxied::{self, counted, proxy_to};

const DOCKER_PROXY: &str = "docker-proxy";
const HAPROXY_SPLICE: &str = "HAProxy splice";

/// A way to the backend.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Option<Child>,
}

/// A process that ends with this one.
pub(crate) struct Child {
    process: Process,
    address: SocketAddr,
    files: Option<PathBuf>,
}

// === impl Way ===

impl Way {
    /// All ways that this machine has.
    pub(crate) fn all(backend: SocketAddr) -> Vec<Self> {
        let direct = Self { name: "direct", address: backend, child: None };
        let to = backend.to_string();
        let of = |name, child: Option<Child>| {
            child.map(|child| Self { name, address: child.address, child: Some(child) })
        };
        let ways = [
            of("ganger", Some(Child::start_self(&["ganger", &to]))),
            of("ganger, hot", Some(Child::start_self(&["ganger-hot", &to]))),
            of("HAProxy", Child::haproxy(backend, 9950, "")),
            of(HAPROXY_SPLICE, Child::haproxy(backend, 2000, SPLICE)),
            of("nginx", Child::nginx(backend)),
            of(DOCKER_PROXY, Child::docker_proxy(backend)),
        ];
        std::iter::once(direct).chain(ways.into_iter().flatten()).collect()
    }

    /// Processor time so far, in seconds, with its children's.
    pub(crate) fn cpu(&self) -> f64 {
        self.pids().iter().map(|pid| cpu(*pid)).sum()
    }

    /// docker-proxy stops accepting where it has no descriptors left for more, and
    /// HAProxy sets some aside for pipes.
    pub(crate) fn holds_many(&self) -> bool {
        ![DOCKER_PROXY, HAPROXY_SPLICE].contains(&self.name)
    }

    /// Resident bytes and open descriptors; `None` for a direct connection.
    pub(crate) fn memory(&self) -> Option<(f64, f64)> {
        let pids = self.pids();
        let all = |of: fn(u32) -> f64| pids.iter().map(|pid| of(*pid)).sum::<f64>();
        (!pids.is_empty()).then(|| (all(resident), all(descriptors)))
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let id = child.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        std::iter::once(id)
            .chain(children.split_whitespace().filter_map(|p| p.parse().ok()))
            .collect()
    }
}

fn cpu(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) * 1024.0
}

fn descriptors(pid: u32) -> f64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(f64::NAN, |all| all.count() as f64)
}

// === impl Child ===

const SPLICE: &str = "option splice-request\n option splice-response";

impl Child {
    /// Starts this program in another role, which says where it listens.
    pub(crate) fn start_self(args: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let address = line.trim().parse().expect("an address");
        Self { process, address, files: None }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.id())).map_or(0, Iterator::count)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn haproxy(backend: SocketAddr, most: u32, more: &str) -> Option<Self> {
        let port = free_port();
        let config = format!(
            "global\n maxconn {most}\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n \
             timeout client 1h\n timeout server 1h\n {more}\nfrontend f\n bind 127.0.0.1:{port}\n \
             default_backend b\nbackend b\n server s {backend}\n"
        );
        Self::with_file("haproxy", &["-db", "-f"], &config, port)
    }

    fn nginx(backend: SocketAddr) -> Option<Self> {
        let port = free_port();
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let load = if fs::exists(module).unwrap_or(false) {
            format!("load_module {module};\n")
        } else {
            String::new()
        };
        // A pid file of its own, and no device: it is removed in the end.
        let pid = file("nginx", port).with_extension("pid");
        let pid = pid.display();
        let config = format!(
            "{load}daemon off;\nuser root;\nworker_processes 2;\npid {pid};\nerror_log stderr;\n\
             events {{ worker_connections 30000; }}\nstream {{ server {{ listen 127.0.0.1:{port}; \
             proxy_pass {backend}; proxy_timeout 1h; proxy_half_close on; }} }}\n"
        );
        Self::with_file("nginx", &["-c"], &config, port)
    }

    fn docker_proxy(backend: SocketAddr) -> Option<Self> {
        let port = free_port();
        // docker-proxy says on descriptor 3 how its start went.
        let script = format!(
            "exec docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port {port} -container-ip {} \
             -container-port {} 3>/dev/null",
            backend.ip(),
            backend.port()
        );
        Self::wait_for(Command::new("sh").args(["-c", &script]), port, None)
    }

    fn with_file(program: &str, args: &[&str], config: &str, port: u16) -> Option<Self> {
        let path = file(program, port);
        fs::File::create(&path).and_then(|mut f| f.write_all(config.as_bytes())).expect("a file");
        Self::wait_for(Command::new(program).args(args).arg(&path), port, Some(path))
    }

    /// `None` when it is not installed, or does not start.
    fn wait_for(command: &mut Command, port: u16, files: Option<PathBuf>) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut child = Self { process, address, files };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if TcpStream::connect(address).is_ok() {
                return Some(child);
            }
            if child.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            std::thread::yield_now();
        }
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Not SIGKILL: a process with workers has to end them.
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, Signal::TERM));
        let _ = self.process.wait();
        if let Some(path) = self.files.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn file(program: &str, port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("ganger-bench-{program}-{port}.conf"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Runs as Ganger's data path, on as many threads as `ganger run` has.
pub(crate) fn ganger(backend: SocketAddr, hot: bool) {
    let threads = Workers::start().expect("threads");
    proxied::raise_files();
    println!("{}", proxy_to(threads.acceptors(), backend, hot, counted(Vec::new())));
    // The process ends with its input, and so do the threads.
    let _ = std::io::stdin().read_line(&mut String::new());
}
