//! The cost of going through the proxy, against a direct connection to the
//! same backend, all on loopback: set-up, ping-pong and bulk.

#![expect(clippy::expect_used, reason = "a failure is to end the benchmark")]

#[path = "support/costs.rs"]
mod costs;
#[path = "support/proxied.rs"]
mod proxied;
#[path = "support/watched.rs"]
mod watched;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use costs::Costs;
use criterion::{BenchmarkId, Criterion, Throughput};
use ganger::proxy::Acceptor;
use proxied::{counted, proxy_to};
use watched::Watch;

const BULK: usize = 16 << 20;

fn main() {
    let mut criterion = costs::criterion();
    let mut costs = Costs::default();
    let many = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // As `ganger run` has it on two processors, but for who drives it.
    let one = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");

    let [many, one] = [&many, &one].map(|runtime| Acceptor::alone(runtime.handle().clone()));
    let watch = Watch::default();
    let seen = counted(watch.recorders());
    // Each name with how many there are of it in a connection that is timed.
    let mut bench = |(name, many_of): (&str, u64), bytes: usize, backend, measure: Measure| {
        let ways = [
            ("direct", backend),
            ("proxied by many threads", proxy_to([&many], backend, false, counted(Vec::new()))),
            ("proxied by one thread", proxy_to([&one], backend, false, counted(Vec::new()))),
        ];
        compare(&mut criterion, &mut costs, name, bytes, &ways, measure);
        let plain = ways[2].1;
        let addresses = [plain, proxy_to([&one], backend, false, seen.clone())];
        let _scrapes = watch.scrapes_of(&seen.0, &seen.1);
        watched::compare(name, &[50], |who, end, times| {
            while Instant::now() < end {
                times.push(measure(addresses[who], many_of).expect("a connection"));
            }
        });
    };
    let echo = serve(echo);
    bench(("set-up", 1), 0, echo, set_up);
    bench(("ping-pong of 64 B", 100), 64, echo, ping_pong);
    bench(("bulk of 16 MiB", 1), BULK, serve(source), bulk);
    criterion.final_summary();
}

type Measure = fn(SocketAddr, u64) -> io::Result<Duration>;

fn compare(
    criterion: &mut Criterion,
    costs: &mut Costs,
    name: &str,
    bytes: usize,
    ways: &[(&str, SocketAddr)],
    measure: Measure,
) {
    let mut group = criterion.benchmark_group("relay");
    group.throughput(match bytes {
        0 => Throughput::Elements(1),
        bytes => Throughput::Bytes(bytes as u64),
    });
    for (way, address) in ways {
        group.bench_function(BenchmarkId::new(name, way), |bencher| {
            bencher.iter_custom(|iterations| {
                let time = measure(*address, iterations).expect("a connection");
                costs.note(&format!("{name} {way}"), time, iterations)
            });
        });
    }
    group.finish();
    for (way, _) in &ways[1..] {
        costs.compare(&format!("{name} {way}"), &format!("{name} direct"));
    }
}

// === what is measured ===

/// Connect, one byte there and back, close.
fn set_up(address: SocketAddr, iterations: u64) -> io::Result<Duration> {
    let start = Instant::now();
    for _ in 0..iterations {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&[7])?;
        stream.read_exact(&mut [0])?;
    }
    Ok(start.elapsed())
}

fn ping_pong(address: SocketAddr, iterations: u64) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut message = [7; 64];
    let start = Instant::now();
    for _ in 0..iterations {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(start.elapsed())
}

fn bulk(address: SocketAddr, iterations: u64) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0; 256 << 10];
    let start = Instant::now();
    for _ in 0..iterations {
        stream.write_all(&[7])?;
        let mut left = BULK;
        while left > 0 {
            let most = left.min(buffer.len());
            left -= stream.read(&mut buffer[..most])?;
        }
    }
    Ok(start.elapsed())
}

// === backends ===

fn serve(talk: fn(TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that is gone needs nothing any more.
            thread::spawn(move || talk(stream).ok());
        }
    });
    address
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}

/// Sends [`BULK`] bytes for each one that comes.
fn source(mut stream: TcpStream) -> io::Result<()> {
    let chunk = vec![7; 256 << 10];
    while stream.read(&mut [0])? > 0 {
        for _ in 0..BULK / chunk.len() {
            stream.write_all(&chunk)?;
        }
    }
    Ok(())
}
