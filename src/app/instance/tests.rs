//! Tests of the lock, against holders of all kinds.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::{Uid, getpid};
use rustix::thread::set_thread_uid;

use super::*;

fn name() -> String {
    format!("test-{}", Instance::new_boot().unwrap())
}

fn path(name: &str) -> String {
    format!("ganger/instance/{name}")
}

/// Holds a name until dropped: no program that another test runs inherits it.
fn bound(kind: SocketType, name: &str) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let held = socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
    bind(&held, &SocketAddrUnix::new_abstract_name(path(name).as_bytes()).unwrap()).unwrap();
    held
}

/// Takes a name that was just let go: a program that another test is about to run may have it
/// for a moment longer.
fn freed(name: &str) -> Instance {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match Instance::take_surely(name) {
            Ok(instance) => return instance,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::yield_now();
    }
}

#[test]
fn a_second_process_is_kept_out_until_the_first_ends() {
    let name = name();
    let first = Instance::take(&name).unwrap();
    let error = Instance::take(&name).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    let boot = first.boot().to_owned();
    // However often it is asked for: more than the kernel has room for.
    let pids: Vec<_> = (0..5000).map(|_| lock::holder(&path(&name)).unwrap().pid).collect();
    assert!(pids.contains(&None), "{pids:?}");
    assert!(Instance::take(&name).unwrap_err().to_string().contains("as a process"));
    drop(first);
    assert_ne!(freed(&name).boot(), boot);
}

/// Holds a name as another user, who does this with its socket.
fn strangers(name: &str, then: impl FnOnce(&OwnedFd) + Send + 'static) -> OwnedFd {
    let name = name.to_owned();
    // The user is the thread's alone.
    let stranger = thread::spawn(move || {
        set_thread_uid(Uid::from_raw(65534)).unwrap();
        let held = bound(SocketType::STREAM, &name);
        then(&held);
        held
    });
    stranger.join().unwrap()
}

#[test]
#[ignore = "needs root"]
fn a_stranger_who_holds_the_name_is_told_and_keeps_nobody_out_but_who_has_to_be_sure() {
    let name = name();
    let held = strangers(&name, |held| listen(held, 8).unwrap());
    let pid = getpid().as_raw_nonzero();
    let expected = format!("may be running as process {pid} of user 65534");
    let error = Instance::take_surely(&name).unwrap_err().to_string();
    assert!(error.contains(&expected), "{error}");
    assert_eq!(Instance::take(&name).unwrap().name(), name);
    drop(held);
    drop(freed(&name));
}

#[test]
#[ignore = "needs root"]
fn a_stranger_is_known_whether_it_listens_or_has_room_or_not() {
    let expected = "may be running as a process of user 65534";
    // Nobody has to listen to hold a name.
    let silent = name();
    let _held = strangers(&silent, |_| {});
    let error = Instance::take_surely(&silent).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    drop(Instance::take(&silent).unwrap());

    let full = name();
    let _held = strangers(&full, |held| listen(held, 0).unwrap());
    let address = SocketAddr::from_abstract_name(path(&full)).unwrap();
    let _asked = UnixStream::connect_addr(&address).unwrap();
    let error = Instance::take_surely(&full).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    drop(Instance::take(&full).unwrap());
}

#[test]
fn one_of_ours_that_does_not_listen_keeps_others_out() {
    let name = name();
    let held = bound(SocketType::STREAM, &name);
    let error = Instance::take(&name).unwrap_err();
    assert!(matches!(error, InstanceError::Taken { holder: Some(_), .. }), "{error}");
    // A name that begins with it is another one.
    let longer = UnixListener::bind_addr(
        &SocketAddr::from_abstract_name(path(&format!("{name}-2"))).unwrap(),
    );
    drop((held, longer.unwrap()));
    drop(freed(&name));
}

#[test]
fn a_name_of_another_kind_of_socket_keeps_nobody_out() {
    let name = name();
    let _other = bound(SocketType::DGRAM, &name);
    let ours = Instance::take_surely(&name).unwrap();
    assert!(lock::holder(&path(&name)).is_some_and(|holder| !holder.is_foreign()));
    drop(ours);
}

#[test]
#[ignore = "needs root"]
fn who_holds_the_name_is_told_from_who_has_it_for_another_kind_of_socket() {
    // The kernel lists them in an order of its own: with some names ours is the first.
    for name in (0..16).map(|_| name()) {
        let _other = bound(SocketType::DGRAM, &name);
        let _held = strangers(&name, |_| {});
        let error = Instance::take_surely(&name).unwrap_err().to_string();
        assert!(error.contains("may be running as a process of user 65534"), "{error}");
        drop(Instance::take(&name).unwrap());
    }
}
