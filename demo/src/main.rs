//! The echo service that is built into ganger: sends back what it receives.
//!
//! With `--hold` it does nothing for ever: its container then holds a network namespace.
//!
//! Listens on port 7000 (`--port N` for another), IPv4 and, where there is
//! any, IPv6. Runs as PID 1 of its container, where the kernel ignores the
//! default action of SIGTERM: it ends by SIGKILL, and has nothing to clean up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const PORT: u16 = 7000;
/// Enough for the buffer of one connection, and small under a memory limit.
const STACK: usize = 128 * 1024;
const BUFFER: usize = 16 * 1024;
/// How long to wait when a connection cannot be taken, rather than to spin.
const RESPITE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--hold") {
        loop {
            thread::park();
        }
    }
    match port(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when stderr is gone as well.
            let _ = writeln!(io::stderr(), "echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn port(mut args: impl Iterator<Item = String>) -> io::Result<u16> {
    let usage = || io::Error::new(ErrorKind::InvalidInput, "usage: echo [--port PORT | --hold]");
    match args.next().as_deref() {
        None => Ok(PORT),
        Some("--port") => args.next().and_then(|port| port.parse().ok()).ok_or_else(usage),
        Some(_) => Err(usage()),
    }
}

fn run(port: u16) -> io::Result<()> {
    // Where the kernel has IPv6, this socket takes IPv4 as well unless it is
    // told otherwise (net.ipv6.bindv6only), and the second bind finds the port in use.
    let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    let _ = writeln!(io::stdout(), "echo: listening on port {port}");
    match (v6, v4) {
        (Ok(v6), Ok(v4)) => {
            thread::Builder::new().stack_size(STACK).spawn(move || accept(&v6))?;
            accept(&v4)
        }
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => accept(&one),
        (Err(_), Err(error)) => Err(error),
    }
}

fn accept(listener: &TcpListener) -> ! {
    loop {
        let taken = listener.accept().and_then(|(stream, _)| {
            // A connection that ends with an error ends; there is nobody to tell.
            thread::Builder::new().stack_size(STACK).spawn(move || echo(stream).ok())
        });
        if taken.is_err() {
            thread::park_timeout(RESPITE);
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return stream.shutdown(Shutdown::Write),
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
