//! `ganger generate`: what goes with the program, on standard output.

mod completions;
mod deployment;
mod image;
mod manual;
mod reference;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::out::print;
use super::{Exit, Failure};

/// What is printed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Generating {
    #[command(subcommand)]
    kind: Generated,
}

const AFTER_HELP: &str = "\
Examples:
  ganger generate completions bash > /etc/bash_completion.d/ganger
  ganger generate man | man -l -
  ganger generate man --dir /usr/local/share/man/man1
  ganger generate systemd --program /usr/bin/ganger
  ganger generate systemd --socket > /etc/systemd/system/ganger-echo.socket
  ganger generate image --tag ganger:test | docker load";

#[derive(Debug, Subcommand)]
enum Generated {
    /// Completions of the command line, for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The manual: all of it as one page or, with --dir, a page for each verb
    Man {
        /// Write a page for each verb here, as packages have them
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// A unit for systemd
    Systemd {
        /// Where the program is installed
        #[arg(long, value_name = "PATH", default_value = deployment::PROGRAM)]
        program: String,
        /// Instead: an example of a unit for a listening socket that systemd holds
        #[arg(long, conflicts_with = "program")]
        socket: bool,
    },
    /// A Compose file, which runs Ganger in a container
    Compose,
    /// A Dockerfile, which builds an image of Ganger from a clone of its repository
    Dockerfile,
    /// An image of Ganger that has nothing but this program, for `docker load`
    Image {
        /// What the image is called
        #[arg(long, value_name = "NAME:TAG", default_value = image::REFERENCE)]
        tag: String,
    },
    /// A dashboard for Grafana 10 and later, of what Prometheus reads of Ganger
    Grafana,
    /// Recording rules and alerts for Prometheus, as one file
    Alerts,
    /// The admin server's paths, as OpenAPI 3.1
    Openapi,
    /// The reference of all keys of a configuration, as JSON. (RON has no schema language)
    Schema,
}

pub(super) fn generate(generating: &Generating) -> Result<Exit, Failure> {
    match &generating.kind {
        Generated::Completions { shell } => print(&completions::completions(*shell)),
        Generated::Man { dir: None } => print(&manual::page().map_err(failed)?),
        Generated::Man { dir: Some(dir) } => manual::pages(dir).map_err(|error| {
            let message = format!("cannot write the manual to {}: {error}", dir.display());
            Failure::new(Exit::Failed, message)
        })?,
        Generated::Systemd { socket: true, .. } => print(deployment::SOCKET),
        Generated::Systemd { program, .. } => print(&deployment::unit(program)?),
        Generated::Compose => print(deployment::COMPOSE),
        Generated::Dockerfile => print(deployment::DOCKERFILE),
        Generated::Image { tag } => image::image(tag)?,
        Generated::Grafana => print(deployment::GRAFANA),
        Generated::Alerts => print(&deployment::alerts()),
        Generated::Openapi => print(&crate::admin::openapi_json()),
        Generated::Schema => print(&reference::reference().map_err(failed)?),
    }
    Ok(Exit::Ok)
}

fn failed(error: impl ToString) -> Failure {
    Failure::new(Exit::Failed, error)
}
