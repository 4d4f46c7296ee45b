//! `cargo xtask demo`: the demo on a machine that may have no engine.

use std::process::ExitCode;

use anyhow::Result;

use crate::child::Interrupts;
use crate::fleet::Site;
use crate::{command, machine};

/// Runs `ganger demo`, on an engine of our own when none answers where it looks.
pub(crate) fn run() -> Result<ExitCode> {
    let named = named(std::env::var("DOCKER_HOST").ok());
    if let Some(url) = &named {
        // A user who names an engine wants that one, or to be told what is wrong with it.
        command::say(&format!("using the engine that DOCKER_HOST names, {url}"));
    } else {
        // The check comes before minutes of building.
        machine::check(&Site::demo())?;
    }
    command::say("building ganger: some minutes the first time");
    command::run(&mut command::cargo(&["build", "--release", "--package", "ganger"]))?;
    let interrupts = Interrupts::take()?;
    let own = if named.is_some() { None } else { machine::engine(Site::demo(), &interrupts)? };
    let mut demo = command::ganger();
    demo.arg("demo").current_dir(command::root());
    if named.is_none() {
        // DOCKER_HOST may be set and empty.
        demo.env_remove("DOCKER_HOST");
    }
    let result = interrupts.run(&mut demo);
    if let Some(fleet) = own {
        fleet.down()?;
    }
    let code = result?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The engine that the environment names; empty names none, as for `docker`.
fn named(docker_host: Option<String>) -> Option<String> {
    docker_host.filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_names_no_engine() {
        assert_eq!(named(None), None);
        assert_eq!(named(Some(String::new())), None);
        assert_eq!(named(Some("unix:///x".into())).as_deref(), Some("unix:///x"));
    }
}
