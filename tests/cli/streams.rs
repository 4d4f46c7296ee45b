//! The standard streams of the process: input, output, errors.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// The output of a program on standard error, where that is a terminal.
pub(crate) fn on_a_terminal(command: &mut Command) -> String {
    on_terminals(command, false)
}

/// The same, and its standard output is that terminal as well where it is to be.
pub(crate) fn on_terminals(command: &mut Command, output: bool) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap();
    let its = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    let stdout = if output { Stdio::from(its.try_clone().unwrap()) } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(stdout).stderr(OwnedFd::from(its));
    let mut child = command.spawn().unwrap();
    // The command's copies would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    // Reading fails once nobody has the other end any more.
    let mut ours = File::from(ours);
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = ours.read(&mut part) {
        said.extend_from_slice(&part[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn what_it_prints_may_go_nowhere() {
    // As with `ganger init | true`.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(GANGER).arg("init").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let dir = Dir::new();
    let path = dir.write("c.ron", &absent("full").to_string());
    dir.write("trace.csv", "echo,0,1\n");
    for args in [
        &["init"][..],
        &["--help"],
        &["--version"],
        &["check", "--config", &path],
        &["simulate", "trace.csv"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = dir.command(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{said}");
    }
    // The exit code says what has gone wrong before.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let args = ["check", "--online", "--config", &path];
    let output = dir.command(&args).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[test]
fn colours_are_for_terminals_and_not_for_who_wants_none() {
    let dir = Dir::new();
    let bad = dir.write("bad.ron", "(");
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let config = format!(
        "(instance: {:?}, guardian: false,
          daemons: Static([(name: \"d\", url: \"{NOWHERE}\", max_containers: 4)]),
          services: {{\"s\": (listen: \"127.0.0.1:{port}\", image: \"i:1\", port: 1)}})",
        unique("colours")
    );
    let busy = dir.write("busy.ron", &config);
    let target = taken.local_addr().unwrap().to_string();
    for (args, part) in [
        (&["check", "--config", &bad][..], "bad.ron:1:"),
        (&["run", "--config", &busy], "cannot listen"),
        (&["fly"], "fly"),
        (&["bench", "--log", "debug", "--target", &target, "--rate", "x"], "--rate"),
    ] {
        for (wish, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
            let mut command = dir.command(args);
            // For the command line's parser a terminal without a name has no colours.
            command.env("TERM", "xterm");
            wish.map(|wish| command.env("NO_COLOR", wish));
            let said = on_a_terminal(&mut command);
            assert!(said.contains(part), "{said:?}");
            assert_eq!(said.contains("\x1b["), coloured, "{args:?}, NO_COLOR={wish:?}: {said:?}");
        }
    }
}

#[test]
fn colours_are_as_the_command_line_wants_them() {
    let dir = Dir::new();
    let bad = dir.write("bad.ron", "(");
    for args in [&["check", &bad][..], &["fly"], &["--help"]] {
        for (wish, coloured) in [("always", true), ("never", false)] {
            let wishes = [&["--color", wish][..], &[&format!("--color={wish}")]];
            for args in wishes.map(|wish| [wish, args].concat()) {
                let mut command = dir.command(&args);
                let said = on_terminals(command.env("TERM", "xterm"), true);
                assert_eq!(said.contains("\x1b["), coloured, "{args:?}: {said:?}");
                let outcome = dir.ganger_with(&args, &[("NO_COLOR", "1")]);
                let said = outcome.out + &outcome.err;
                assert_eq!(said.contains("\x1b["), coloured, "no terminal, {args:?}: {said:?}");
            }
        }
    }
    dir.ganger(&["check", "--color", "blue"]).expect(2, &["always, never"]);
    // Also in the log.
    let config = dir.write("c.ron", &absent("colour").to_string());
    let online = dir.ganger(&["check", "--online", &config, "--color=always", "--log", "debug"]);
    online.expect(4, &["\x1b[34mDEBUG"]);
}

#[test]
fn a_configuration_comes_through_a_pipe() {
    let dir = Dir::new();
    let text = absent("pipe").to_string();
    for args in [&["check", "--config", "-"][..], &["check", "-"]] {
        let checked = dir.ganger_fed(args, &[], &text);
        checked.expect(0, &[]);
        assert!(checked.out.contains("standard input: in order"), "{checked:#?}");
        dir.ganger_fed(args, &[], "(").expect(3, &["standard input:1:"]);
    }
    let env = [("GANGER_CONFIG_FILE", "-")];
    dir.ganger_fed(&["reap"], &env, &text).expect(4, &["no container engine at"]);
    // No path of its own would tell it from others, or find it again.
    let nameless = text.replacen("instance", "// instance", 1);
    let why = ["standard input", "no path", "add `instance"];
    dir.ganger_fed(&["run", "--config", "-"], &[], &nameless).expect(3, &why);
    dir.ganger_fed(&["simulate", "-"], &[], "echo,0,1\n").expect(0, &[]);
}

#[test]
fn what_came_through_a_pipe_is_not_read_again() {
    let dir = Dir::new();
    let config = absent("again");
    let mut command = dir.command(&["run", "--config", "-"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut ganger = command.spawn().unwrap();
    ganger.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let port = config.port("echo");
    wait_until(DEADLINE, "it listens", || Client::try_connect(port).is_ok());
    let pid = rustix::process::Pid::from_child(&ganger);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(ganger.stderr.take().unwrap()));
    let why = "came from standard input and cannot be read again";
    assert!(lines.any(|line| line.unwrap().contains(why)));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    lines.for_each(drop);
    assert_eq!(ganger.wait().unwrap().code(), Some(0));
}

#[test]
fn every_verb_logs_what_it_is_told_to() {
    let dir = Dir::new();
    let path = dir.write("c.ron", &absent("log").to_string());
    for args in [
        &["check", "--online", "--config", &path][..],
        &["reap", "--config", &path],
        &["push", "i:1", "--to", "all", "--config", &path],
        &["bench", "--service", "echo", "--config", &path, "--send", "x"],
    ] {
        let told = |more: &[&str], env| dir.ganger_with(&[args, more].concat(), env).err;
        assert!(!told(&[], &[]).contains("DEBUG"), "{args:?}");
        for said in [told(&["--log", "debug"], &[]), told(&[], &[("GANGER_LOG", "debug")])] {
            assert!(said.contains("DEBUG"), "{args:?}: {said}");
        }
    }
}
