//! The command line: verbs and exit codes.

mod bench;
mod check;
mod demo;
mod guard;
mod push;
mod reap;
mod run;
mod simulate;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Witness;
use crate::config::{Config, ConfigError, LogFormat, Name};
use crate::{app, telemetry};

/// How a verb ended; the numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong or cannot be read.
    Config = 3,
    /// An engine cannot be reached.
    Unreachable = 4,
    /// Connections were cut because they did not end within the drain time.
    Cut = 5,
    /// What was measured is not what was required.
    Missed = 6,
}

/// Gives every TCP connection its own container, already running when the client arrives.
#[derive(Debug, Parser)]
#[command(name = "ganger", version, about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// The configuration file [default: ganger.ron here, or /etc/ganger/ganger.ron]
    #[arg(
        long,
        short,
        global = true,
        env = "GANGER_CONFIG_FILE",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,
    /// What is logged: a level, or TARGET=LEVEL pairs separated by commas
    #[arg(
        long,
        global = true,
        env = "GANGER_LOG",
        default_value = "info",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    log: String,
}

const AFTER_HELP: &str = "\
Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 cannot reach an engine,
5 connections were cut while draining, 6 what was measured is not what was required,
128 + N told to stop three times by signal N.

First steps: `ganger demo` shows it at work; `ganger init > ganger.ron` writes a
commented configuration; `ganger check` says what is wrong with it.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT, then drain and remove every container. SIGHUP
    /// reads the configuration again
    Run,
    /// Serve the built-in echo image; needs no file and no registry
    Demo {
        /// The engine to use
        #[arg(
            long,
            env = "DOCKER_HOST",
            default_value = demo::DEFAULT,
            value_name = "URL"
        )]
        docker: String,
        /// Where to listen [default: 127.0.0.1:5454]
        #[arg(long, value_name = "IP:PORT", value_parser = address)]
        listen: Option<SocketAddr>,
    },
    /// Say whether the configuration is in order
    Check {
        /// Also ask the daemons: contact, way to reach containers, image; changes nothing
        #[arg(long)]
        online: bool,
    },
    /// Print the commented default configuration
    Init,
    /// Measure how long clients wait for an answer: from containers that are launched for
    /// them, from stock, used before, or reached directly; or from any TCP address
    Bench(Box<bench::Arguments>),
    /// Guard the process at the other end of standard input
    #[command(hide = true)]
    Guard {
        /// Log as JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy an image from one daemon to others, without a registry
    Push {
        /// The image, by its tag
        image: String,
        /// A daemon of the configuration that is to have it, or `all`; may be repeated
        #[arg(long, required = true, value_name = "DAEMON")]
        to: Vec<String>,
        /// The daemon that has it, or an engine on this machine [default: the first that has it]
        #[arg(long, value_name = "DAEMON|URL")]
        from: Option<String>,
    },
    /// Replay recorded connections against stocks of other sizes
    Simulate(simulate::Simulation),
    /// Remove what an instance that is not running has left behind
    Reap {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// The instance, if it is not the configuration's
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
        /// Instead: containers of every instance whose deadline (`overdue_after`) has passed
        #[arg(long, conflicts_with = "instance")]
        overdue: bool,
    },
}

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when this cannot be printed.
            _ = error.print();
            let usage = error.use_stderr();
            return ExitCode::from(if usage { Exit::Usage as u8 } else { Exit::Ok as u8 });
        }
    };
    let Arguments { verb, config, log } = arguments;
    if let Err(error) = telemetry::check(&log) {
        complain(&error.to_string());
        return ExitCode::from(Exit::Usage as u8);
    }
    let exit = match verb {
        Verb::Init => {
            say(Config::default_text().trim_end());
            Ok(Exit::Ok)
        }
        Verb::Run => loaded(config).and_then(|(config, path)| {
            start_log(config.log.format, &log)?;
            block_on(run::run(config, &path, &log)).map_err(Failure::logged)
        }),
        Verb::Demo { docker, listen } => start_log(LogFormat::Text, &log)
            .and_then(|()| block_on(demo::demo(&docker, listen, &log))),
        Verb::Simulate(simulation) => simulate::simulate(&simulation),
        Verb::Guard { json } => {
            let format = if json { LogFormat::Json } else { LogFormat::Text };
            let runtime = tokio::runtime::Builder::new_current_thread();
            start_log(format, &log).and_then(|()| block_on_with(runtime, guard::guard()))
        }
        Verb::Check { online } => loaded(config).and_then(|(config, path)| {
            start_log(LogFormat::Text, if online { "warn" } else { "off" })?;
            block_on(check::check(&config, &path, online))
        }),
        Verb::Bench(arguments) => {
            let witness = Witness::default();
            let log = telemetry::init_with("warn", witness.layer());
            log.map_err(|error| Failure::new(Exit::Failed, error))
                .and_then(|()| block_on(bench::bench(*arguments, config, &witness)))
        }
        Verb::Push { image, to, from } => loaded(config).and_then(|(config, _)| {
            start_log(LogFormat::Text, "warn")?;
            block_on(push::push(&config, &image, &to, from.as_deref()))
        }),
        Verb::Reap { dry_run, overdue: true, .. } => loaded(config).and_then(|(config, _)| {
            start_log(LogFormat::Text, "warn")?;
            block_on(reap::reap_overdue(&config, dry_run))
        }),
        Verb::Reap { dry_run, instance, .. } => loaded(config).and_then(|(config, path)| {
            start_log(LogFormat::Text, "warn")?;
            let instance = match instance {
                Some(name) => Name::new(name)
                    .map_err(|error| Failure::new(Exit::Usage, format!("--instance: {error}")))?
                    .to_string(),
                None => {
                    config.instance(&path).map_err(|error| Failure::new(Exit::Config, error))?
                }
            };
            block_on(reap::reap(&config, &instance, dry_run))
        }),
    };
    telemetry::flush();
    let exit = exit.unwrap_or_else(|Failure { exit, message }| {
        if !message.is_empty() {
            complain(&message);
        }
        exit
    });
    ExitCode::from(exit as u8)
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an address and a port, as in 127.0.0.1:5454")
}

/// Why a verb did not do what it was asked to.
struct Failure {
    exit: Exit,
    message: String,
}

// === impl Failure ===

impl Failure {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// Says why in the log, unless that leaves errors out.
    fn logged(mut self) -> Self {
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{}", std::mem::take(&mut self.message));
        }
        self
    }
}

fn loaded(named: Option<PathBuf>) -> Result<(Config, PathBuf), Failure> {
    let Some(path) = named.or_else(app::default_config) else {
        let message = "no configuration: name one with --config or GANGER_CONFIG_FILE, \
                       or write one with `ganger init > ganger.ron`";
        return Err(Failure::new(Exit::Config, message));
    };
    match Config::load(&path) {
        Ok(config) => Ok((config, path)),
        Err(ConfigError::Invalid(report)) => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            Err(Failure { exit: Exit::Config, message: report.render(colour) })
        }
        Err(error) => Err(Failure::new(Exit::Config, error)),
    }
}

fn start_log(format: LogFormat, filter: &str) -> Result<(), Failure> {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(format, filter).map_err(|error| Failure::new(Exit::Usage, error))
}

fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block_on_with(tokio::runtime::Builder::new_multi_thread(), verb)
}

fn block_on_with(
    mut runtime: tokio::runtime::Builder,
    verb: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let runtime = runtime.enable_all().build().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot start the runtime: {error}"))
    })?;
    let exit = runtime.block_on(verb);
    // What is still under way, such as a call to an engine that hangs, must not
    // keep the process.
    runtime.shutdown_background();
    exit
}

/// A line for the user. A closed pipe is no reason to fail.
fn say(line: &str) {
    _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn complain(message: &str) {
    _ = writeln!(std::io::stderr().lock(), "{}", message.trim_end());
}
