//! The command line: verbs and exit codes.

mod ask;
mod bench;
mod check;
mod contained;
mod demo;
mod generate;
mod guard;
mod keeper;
mod out;
mod parsing;
mod push;
mod reap;
mod run;
mod simulate;
mod trial;

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ColorChoice, Parser, Subcommand};

use crate::config::{Config, ConfigError, LogFormat, Name};
use crate::{app, telemetry};
use out::{complain, say};
use parsing::{hinted, parsed};

/// How a verb ended; the numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// The verb failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong or cannot be read.
    Config = 3,
    /// An engine cannot be reached.
    Unreachable = 4,
    /// Connections were cut because they did not end within the drain time.
    Cut = 5,
    /// A measurement does not meet an assertion.
    Missed = 6,
}

/// Gives every TCP connection its own container, already running when the client arrives.
#[derive(Debug, Parser)]
#[command(name = "ganger", version = VERSION, about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// The configuration file, `-` for standard input [env: GANGER_CONFIG_FILE] [default:
    /// ganger.ron here, or /etc/ganger/ganger.ron]
    #[arg(long, short, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// What is logged: a level, or TARGET=LEVEL pairs separated by commas [env: GANGER_LOG]
    /// [default: info for `run` and `demo`, warn for others, error for `bench` without --service]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Global options")]
    log: Option<String>,
    /// Whether what is said on standard error has colours; `auto` is for terminals, and where
    /// NO_COLOR is not set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value_t = ColorChoice::Auto,
        help_heading = "Global options"
    )]
    color: ColorChoice,
}

/// The version and, where it was built in a git checkout, the commit and its date: see build.rs.
const VERSION: &str = env!("GANGER_VERSION");

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
    Run {
        /// The configuration file, as with --config
        file: Option<PathBuf>,
        /// Take the place of the process that runs as this instance, if there is one, as soon as
        /// containers are ready: no client is refused, and it drains
        #[arg(long)]
        take_over: bool,
        /// How long the guardian watches an empty daemon, for tests that wait until it ends
        #[arg(long, hide = true, value_name = "DURATION", value_parser = humantime::parse_duration)]
        guardian_quiet: Option<Duration>,
    },
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
        /// The configuration file, as with --config
        file: Option<PathBuf>,
        /// Also ask the daemons: contact, way to reach containers, image; changes nothing
        #[arg(long)]
        online: bool,
        /// How it is said; `json` is an array of all mistakes and warnings, for editors and CI
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
        format: check::CheckFormat,
    },
    /// Print the commented default configuration
    Init,
    /// Print what goes with Ganger: shell completions, the manual, files that run it as a service
    /// or in a container, and an image of it
    Generate(generate::Generating),
    #[command(flatten)]
    Ask(ask::AskVerb),
    /// Measure how long clients wait for an answer: from containers that are launched for
    /// them, from stock, used before, or reached directly; or from any TCP address
    Bench(Box<bench::BenchArguments>),
    /// Guard the process at the other end of standard input
    #[command(hide = true)]
    Guard {
        /// Log as JSON
        #[arg(long)]
        json: bool,
        /// How long a daemon has to show no container before it counts as empty
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        quiet: Option<Duration>,
    },
    /// Keep cells for the process at the other end of standard input
    #[command(hide = true)]
    KeepCells {
        /// The control group of all of them
        #[arg(long)]
        group: String,
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
    /// Start an image until it is known what it needs, and print a service to paste
    Try(trial::TryArguments),
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

// === impl Verb ===

impl Verb {
    /// The log filter unless one is given.
    fn log(&self) -> &'static str {
        match self {
            Self::Run { .. } | Self::Demo { .. } | Self::Guard { .. } => "info",
            // An offline check makes no contact: only the configuration can be wrong.
            Self::Check { online: false, .. } => "off",
            Self::Bench(arguments) => arguments.log(),
            _ => "warn",
        }
    }
}

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match parsed(env::args_os()) {
        Ok(arguments) => carry_out(arguments).unwrap_or_else(|Failure { exit, message }| {
            if !message.is_empty() {
                complain(&message);
            }
            exit
        }),
        Err(error) => {
            let error = hinted(error);
            out::note(error.print());
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    let exit = match out::unprinted() {
        None => exit,
        Some(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            if exit == Exit::Ok { Exit::Failed } else { exit }
        }
    };
    ExitCode::from(exit as u8)
}

fn carry_out(Arguments { verb, config, log, color }: Arguments) -> Result<Exit, Failure> {
    match color {
        ColorChoice::Auto => {}
        ColorChoice::Always => telemetry::set_coloured(true),
        ColorChoice::Never => telemetry::set_coloured(false),
    }
    let log =
        log.or_else(|| environment("GANGER_LOG").map(|log| log.to_string_lossy().into_owned()));
    let log = log.unwrap_or_else(|| verb.log().to_owned());
    telemetry::check(&log).map_err(|error| Failure::new(Exit::Usage, error))?;
    let exit = match verb {
        Verb::Init => {
            unused(config.as_deref(), "`init` prints it: write `ganger init > FILE`")?;
            say(Config::default_text().trim_end());
            Ok(Exit::Ok)
        }
        Verb::Generate(generating) => {
            unused(config.as_deref(), "`generate` reads none")?;
            generate::generate(&generating)
        }
        Verb::Ask(verb) => {
            start_log(LogFormat::Text, &log).and_then(|()| block_on(ask::carry_out(verb, config)))
        }
        Verb::Run { file, guardian_quiet, take_over } => {
            found(one(file, config)?).and_then(|(config, path)| {
                start_log(config.log.format, &log)?;
                contained::missing(Some(&config)).iter().for_each(|what| tracing::warn!("{what}"));
                let run = run::run(config, &path, &log, guardian_quiet, take_over);
                block_on(run).map_err(Failure::logged)
            })
        }
        Verb::Demo { docker, listen } => {
            unused(
                config.as_deref(),
                "`demo` has a configuration of its own: `ganger run --config FILE` runs yours",
            )?;
            start_log(LogFormat::Text, &log)
                .and_then(|()| block_on(demo::demo(&docker, listen, &log)))
        }
        Verb::Try(arguments) => {
            unused(config.as_deref(), "`try` takes all from its options, and prints a service")?;
            start_log(LogFormat::Text, &log).and_then(|()| block_on(trial::trial(arguments)))
        }
        Verb::Simulate(simulation) => {
            unused(config.as_deref(), "`simulate` takes all from the trace and its options")?;
            start_log(LogFormat::Text, &log).and_then(|()| simulate::simulate(&simulation))
        }
        Verb::Guard { json, quiet } => {
            let format = if json { LogFormat::Json } else { LogFormat::Text };
            let runtime = tokio::runtime::Builder::new_current_thread();
            let quiet = quiet.unwrap_or(app::QUIET);
            start_log(format, &log).and_then(|()| block_on_with(runtime, guard::guard(quiet)))
        }
        Verb::KeepCells { group } => keeper::keep(&group),
        Verb::Check { file, online, format } => {
            let named = one(file, config)?;
            start_log(LogFormat::Text, &log)
                .and_then(|()| block_on(check::check(named, online, format)))
        }
        Verb::Bench(arguments) => start_log(LogFormat::Text, &log)
            .and_then(|()| block_on(bench::bench(*arguments, config, &log))),
        Verb::Push { image, to, from } => loaded(config).and_then(|(config, _)| {
            start_log(LogFormat::Text, &log)?;
            block_on(push::push(&config, &image, &to, from.as_deref()))
        }),
        Verb::Reap { dry_run, overdue: true, .. } => loaded(config).and_then(|(config, _)| {
            start_log(LogFormat::Text, &log)?;
            block_on(reap::reap_overdue(&config, dry_run))
        }),
        Verb::Reap { dry_run, instance, .. } => loaded(config).and_then(|(config, path)| {
            start_log(LogFormat::Text, &log)?;
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
    exit
}

/// A variable of the environment; an empty one counts as unset.
fn environment(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Fails where `--config` names a configuration for a verb that reads none. `GANGER_CONFIG_FILE`
/// is meant for other verbs.
fn unused(config: Option<&Path>, why: &str) -> Result<(), Failure> {
    match config {
        None => Ok(()),
        Some(config) => {
            let message = format!("--config {}: leave it out: {why}", config.display());
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an address and a port, as in 127.0.0.1:5454")
}

/// Why a verb did not do what it was asked to.
#[derive(Debug)]
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

/// The configuration that is named, with `--config` or without.
fn one(file: Option<PathBuf>, config: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    if let (Some(file), Some(config)) = (&file, &config) {
        let (file, config) = (file.display(), config.display());
        let message = format!("name one configuration: {file} or {config}");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(file.or(config))
}

/// The configuration to run. A report of a missing file also lists what else this container lacks.
fn found(named: Option<PathBuf>) -> Result<(Config, PathBuf), Failure> {
    let path = config_path(named)?;
    let is_absent = |error: &ConfigError| matches!(error, ConfigError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound);
    let config = Config::load(&path).map_err(|error| {
        let missing = if is_absent(&error) { contained::missing(None) } else { Vec::new() };
        let mut failure = refused(error);
        missing.iter().for_each(|what| failure.message.push_str(&format!("\n{what}")));
        failure
    })?;
    Ok((config, path))
}

fn loaded(named: Option<PathBuf>) -> Result<(Config, PathBuf), Failure> {
    let path = config_path(named)?;
    Ok((Config::load(&path).map_err(refused)?, path))
}

/// The configuration that is named, or found where one usually is.
fn config_path(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let named = named.or_else(|| environment("GANGER_CONFIG_FILE").map(PathBuf::from));
    named.or_else(app::default_config).ok_or_else(|| {
        let message = "no configuration: name one with --config or GANGER_CONFIG_FILE, \
                       or write one with `ganger init > ganger.ron`";
        Failure::new(Exit::Config, message)
    })
}

/// Why a configuration is not used, for people.
fn refused(error: ConfigError) -> Failure {
    match error {
        ConfigError::Invalid(report) => {
            Failure::new(Exit::Config, report.render(telemetry::is_coloured()))
        }
        error => Failure::new(Exit::Config, error),
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
    // A task that is still under way, such as a hanging call, must not keep the process.
    runtime.shutdown_background();
    exit
}
