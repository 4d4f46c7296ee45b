//! Runs cases in the virtual machine, and tells the outside of them.

mod demo;
mod engine;
mod host;
mod image;
mod package;
mod unit;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::plan::Plan;
use crate::command;
use crate::wait;

/// The second serial port, whose lines are shown outside.
const PORT: &str = "/dev/ttyS1";
/// How long anything may take; everything is ten times slower there.
const DEADLINE: Duration = Duration::from_secs(240);
/// Between two looks, each of which starts a program.
const PAUSE: Duration = Duration::from_secs(1);
/// The group of the cases of the Debian package.
const PACKAGE: &str = "package";
/// The group of the cases of the image.
const IMAGE: &str = "image";
/// The label that containers of every instance have.
const INSTANCE: &str = "label=io.ganger.instance";

/// How the last line begins.
pub(super) const VERDICT: Verdict =
    Verdict { any: "test result: ", passed: "test result: ok. ", failed: "test result: FAILED. " };

/// The beginnings of the last line.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) any: &'static str,
    pub(super) passed: &'static str,
    failed: &'static str,
}

/// The name of a check that is written here, and its function.
type Check = (&'static str, fn(&Plan) -> Result<()>);

/// A case: one check or test.
#[derive(Debug)]
pub(super) struct Case {
    /// As the filter sees it: `unit::serves`.
    name: String,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A check that is written here.
    Check(fn(&Plan) -> Result<()>),
    /// A test of the application.
    Test(engine::Test),
}

// === impl Case ===

impl Case {
    /// Whether it is a test of the application.
    pub(super) fn is_test(&self) -> bool {
        matches!(self.what, What::Test(_))
    }

    /// Whether it needs the Debian package.
    pub(super) fn is_of_package(&self) -> bool {
        self.name.starts_with(PACKAGE)
    }

    /// Whether it needs a program that is linked statically.
    pub(super) fn is_of_image(&self) -> bool {
        self.name.starts_with(IMAGE)
    }
}

/// The cases that the filters leave, in the order in which they run.
pub(super) fn selected(filters: &[String]) -> Vec<Case> {
    let check = |room: &str, &(name, check): &Check| Case {
        name: format!("{room}::{name}"),
        what: What::Check(check),
    };
    let mut cases: Vec<_> = host::CHECKS.iter().map(|it| check("host", it)).collect();
    cases.extend(demo::CHECKS.iter().map(|it| check("demo", it)));
    cases.extend(unit::CHECKS.iter().map(|it| check("unit", it)));
    cases.extend(package::CHECKS.iter().map(|it| check(PACKAGE, it)));
    cases.extend(image::CHECKS.iter().map(|it| check(IMAGE, it)));
    cases.extend(
        engine::TESTS
            .iter()
            .map(|test| Case { name: format!("engine::{}", test.name), what: What::Test(*test) }),
    );
    cases.retain(|case| {
        filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter))
    });
    cases
}

/// Runs what the plan says, in the machine.
pub(crate) fn run(plan: &Path) -> Result<ExitCode> {
    let mut port = OpenOptions::new().write(true).open(PORT).context(PORT)?;
    let result = run_all(plan, &mut port);
    if let Err(error) = &result {
        writeln!(port, "{}{error:#}", VERDICT.failed)?;
    }
    port.flush()?;
    result
}

fn run_all(plan: &Path, port: &mut File) -> Result<ExitCode> {
    let plan = fs::read_to_string(plan).with_context(|| plan.display().to_string())?;
    let plan: Plan = serde_json::from_str(&plan).context("the plan")?;
    writeln!(port, "in the virtual machine: {}", host::describe()?)?;
    let (mut passed, mut failed) = (0, 0);
    for case in selected(&plan.filters) {
        let since = Instant::now();
        let result = match case.what {
            What::Check(check) => check(&plan),
            What::Test(test) => engine::run(&plan, test),
        };
        let took = since.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                writeln!(port, "test {} ... ok ({took:.0} s)", case.name)?;
            }
            Err(error) => {
                failed += 1;
                writeln!(port, "test {} ... FAILED ({took:.0} s)", case.name)?;
                // Indented, so that none of it can be taken for the verdict.
                format!("{error:#}").lines().try_for_each(|line| writeln!(port, "    {line}"))?;
            }
        }
    }
    let how = if failed == 0 { VERDICT.passed } else { VERDICT.failed };
    writeln!(port, "{how}{passed} passed; {failed} failed")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The output of a program, without the end of its last line.
fn said(program: &str, args: &[&str]) -> Result<String> {
    Ok(command::output(program, args)?.trim_end().to_owned())
}

/// Waits until something is so.
fn wait_until(what: &str, mut look: impl FnMut() -> bool) -> Result<()> {
    wait::every(PAUSE, DEADLINE, || look().then_some(()))
        .with_context(|| format!("not within {} s: {what}", DEADLINE.as_secs()))
}

/// The ids of the containers that any instance has, running or not.
fn containers() -> Result<Vec<String>> {
    let listed = said("docker", &["ps", "--all", "--quiet", "--no-trunc", "--filter", INSTANCE])?;
    Ok(listed.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_leaves_what_has_it_in_its_name() {
        let of = |filters: &[&str]| {
            selected(&filters.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let all = of(&[]);
        assert_eq!(of(&[""]).len(), all.len());
        let unit = of(&["unit::"]);
        assert!(!unit.is_empty() && unit.len() < all.len());
        assert!(!unit.iter().any(Case::is_test));
        assert_eq!(of(&["unit::", "image::"]).len(), unit.len() + of(&["image::"]).len());
        assert!(of(&["nothing is called that"]).is_empty());
    }

    #[test]
    fn every_test_that_is_chosen_is_there() {
        for case in selected(&[]) {
            let What::Test(engine::Test { name, .. }) = case.what else { continue };
            let (module, name) = name.rsplit_once("::").unwrap();
            let module = module.replace("::", "/");
            let path = command::root().join(format!("tests/engines/{module}.rs"));
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "{}: {name}", path.display());
        }
    }
}
