//! The backend of all ways. The first byte says what is wanted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

/// Sends back what it is sent, this byte included.
pub(crate) const ECHO: u8 = b'e';
/// Sends as many bytes as the next eight say.
pub(crate) const SOURCE: u8 = b's';
/// The same, and reads to the end at the same time; then sends one byte more.
pub(crate) const BOTH: u8 = b'b';

const CHUNK: usize = 256 << 10;

/// Says where it listens, and serves until its input ends.
pub(crate) fn run() {
    let listener = listen().expect("a port");
    println!("{}", listener.local_addr().expect("its address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = thread::Builder::new().stack_size(64 << 10);
            // A client that is gone needs nothing any more.
            let _ = serve.spawn(move || serve_one(stream).ok());
        }
    });
    let _ = io::stdin().read(&mut [0]);
}

/// With room for all who come at once: a client that finds none comes back after a second.
fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn serve_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    match first[0] {
        ECHO => {
            stream.write_all(&first)?;
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => stream.write_all(&buffer[..read])?,
                }
            }
        }
        SOURCE => {
            send(&mut stream)?;
            stream.shutdown(Shutdown::Write)?;
            stream.read(&mut [0]).map(drop)
        }
        _ => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            let mut reader = stream.try_clone()?;
            let sent = thread::Builder::new().stack_size(64 << 10).spawn(move || {
                send_so_many(&mut stream, u64::from_le_bytes(length)).map(|()| stream)
            })?;
            drain(&mut reader)?;
            let Ok(stream) = sent.join() else { return Ok(()) };
            stream?.write_all(&[1])
        }
    }
}

fn send(stream: &mut TcpStream) -> io::Result<()> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    send_so_many(stream, u64::from_le_bytes(length))
}

/// Sends so many bytes.
pub(crate) fn send_so_many(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    let chunk = vec![7; CHUNK];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Reads to the end; returns how many bytes there were.
pub(crate) fn drain(stream: &mut TcpStream) -> io::Result<u64> {
    let (mut buffer, mut count) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(count),
            read => count += read as u64,
        }
    }
}
