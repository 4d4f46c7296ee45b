//! `ganger generate`: what it prints is taken by what it is for.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Dir, Outcome};

impl Dir {
    fn generated(&self, args: &[&str]) -> String {
        let Outcome { code, out, err } = self.ganger(&[&["generate"], args].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        assert!(out.ends_with('\n'), "{args:?}: {out:?}");
        out
    }
}

fn deployed(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

#[test]
fn what_runs_ganger_is_what_the_repository_has() {
    let dir = Dir::new();
    assert_eq!(dir.generated(&["compose"]), deployed("compose.yaml"));
    assert_eq!(dir.generated(&["dockerfile"]), deployed("Dockerfile"));
    assert_eq!(dir.generated(&["systemd"]), deployed("systemd/ganger.service"));
    assert_eq!(dir.generated(&["systemd", "--socket"]), deployed("systemd/ganger.socket"));
    let unit = dir.generated(&["systemd", "--program", "/usr/bin/ganger"]);
    assert!(unit.contains("\nExecStart=/usr/bin/ganger run "), "{unit}");
    assert!(!unit.contains("/usr/local"), "{unit}");
    dir.ganger(&["generate", "systemd", "--program", "ganger"]).expect(2, &["from the root on"]);
}

#[test]
fn what_watches_ganger_is_what_the_repository_has() {
    let dir = Dir::new();
    assert_eq!(dir.generated(&["grafana"]), deployed("grafana/ganger.json"));
    let both = dir.generated(&["alerts"]);
    assert_eq!(both.lines().filter(|line| *line == "groups:").count(), 1);
    for name in ["prometheus/rules.yml", "prometheus/alerts.yml"] {
        let text = deployed(name);
        let (head, groups) = text.split_once("groups:\n").unwrap();
        assert!(both.contains(head) && both.contains(groups), "{name}");
    }
}

#[test]
fn bash_completes_verbs_and_options() {
    let dir = Dir::new();
    let script = dir.write("ganger.bash", &dir.generated(&["completions", "bash"]));
    let complete = |words: &str, at: usize| {
        let ask = format!(
            "source '{script}'; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _ganger ganger \"${{COMP_WORDS[{at}]}}\" x; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("ganger sim", 1), "simulate\n");
    assert_eq!(complete("ganger gu", 1), "\n", "`guard` is hidden");
    assert_eq!(complete("ganger check --onl", 2), "--online\n");
    assert_eq!(complete("ganger generate completions po", 3), "powershell\n");
}

#[test]
fn the_manual_is_one_page_or_one_for_each_verb() {
    let dir = Dir::new();
    let page = dir.generated(&["man"]);
    assert!(page.contains(".TH ganger 1") && page.contains(".SS ganger reap"), "{page}");
    assert!(!page.contains("guardian\\-quiet"), "{page}");
    let pages = dir.0.join("some/man1");
    let written = dir.ganger(&["generate", "man", "--dir", pages.to_str().unwrap()]);
    written.expect(0, &[]);
    assert_eq!(written.out, "");
    let page = fs::read_to_string(pages.join("ganger-generate-man.1")).unwrap();
    assert!(page.contains(r"\fB\-\-dir\fR"), "{page}");
    assert!(pages.join("ganger.1").exists() && !pages.join("ganger-guard.1").exists());
    let taken = dir.write("taken", "");
    dir.ganger(&["generate", "man", "--dir", &taken]).expect(1, &["cannot write the manual to"]);
}

#[test]
fn a_program_that_is_not_static_makes_no_image() {
    let dir = Dir::new();
    let outcome = dir.ganger(&["generate", "image"]);
    if cfg!(target_feature = "crt-static") {
        return outcome.expect(0, &[]);
    }
    outcome.expect(1, &["linked dynamically", "crt-static", "generate image | docker load"]);
    assert_eq!(outcome.out, "");
    dir.ganger(&["generate", "image", "--tag", "Ganger"]).expect(2, &["a name and a tag"]);
    let mut command = dir.command(&["generate", "image"]);
    let said = super::streams::on_terminals(&mut command, true);
    assert!(said.contains("| docker load"), "{said:?}");
}

#[test]
fn the_admin_server_is_described() {
    let dir = Dir::new();
    let document: Value = serde_json::from_str(&dir.generated(&["openapi"])).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["paths"]["/api/v1/status"]["get"].is_object());
}

#[test]
fn every_key_is_in_the_reference() {
    let dir = Dir::new();
    let reference: Value = serde_json::from_str(&dir.generated(&["schema"])).unwrap();
    let key = |keys: &Value, name: &str| {
        let mut keys = keys.as_array().unwrap().iter();
        keys.find(|key| key["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    let services = key(&reference["keys"], "services");
    assert_eq!(services["required"], true);
    let warm = key(&services["keys"], "warm");
    assert_eq!((&warm["required"], &warm["default"]), (&false.into(), &"1".into()));
    assert!(warm["about"].as_str().is_some_and(|about| !about.is_empty()), "{warm}");
    let timeouts = key(&services["keys"], "timeouts");
    assert_eq!(key(&timeouts["keys"], "start")["default"], "\"30s\"");
    let consul = key(&reference["groups"], "Consul");
    assert_eq!(key(&consul["keys"], "servers")["name"], "servers");
}

#[test]
fn generate_reads_no_configuration() {
    let dir = Dir::new();
    dir.ganger(&["generate", "compose", "--config", "x.ron"]).expect(2, &["leave it out"]);
    dir.ganger_with(&["generate", "compose"], &[("GANGER_CONFIG_FILE", "x.ron")]).expect(0, &[]);
    dir.ganger(&["generate"]).expect(2, &["Usage: ganger generate"]);
}
