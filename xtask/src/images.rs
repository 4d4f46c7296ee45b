//! Images of stock services, made of Debian's packages: nothing is fetched from a registry.
//!
//! A small Debian is made once (debootstrap); each image is that and one layer of its own, which is
//! what its packages, files and script write. Kept in `target/images`, and made again when what
//! they are made of changes.

mod recipe;

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::child::Interrupts;
use crate::{command, packages, suite};
use recipe::{RECIPES, Recipe};

/// The Debian suite.
const SUITE: &str = "bookworm";
/// Written last, and says of what the rest was made.
const MADE: &str = "made-of";
/// No layer has the content of these: it serves the making.
const LEFT_OUT: [&str; 6] =
    ["./proc", "./sys", "./dev", "./etc/resolv.conf", "./var/cache/apt", "./var/lib/apt/lists"];
/// Files that nobody reads in a container.
const SLIM: &str = "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n\
                    path-exclude=/usr/share/locale/*\npath-exclude=/usr/share/info/*\n";

/// The images, and where they are kept.
pub(crate) struct Images {
    dir: PathBuf,
}

// === impl Images ===

impl Images {
    /// Makes the images that are missing, or whose sources have changed.
    pub(crate) fn ensure(interrupts: &Interrupts) -> Result<Self> {
        packages::ensure_images()?;
        let dir = std::path::absolute(command::target().join("images"))?;
        fs::create_dir_all(dir.join("archives/partial"))?;
        let images = Self { dir };
        let lock = File::create(images.dir.join("lock"))?;
        lock.lock().context("lock on the images")?;
        images.ensure_base(interrupts)?;
        for recipe in RECIPES {
            images.ensure_image(recipe, interrupts)?;
        }
        Ok(images)
    }

    /// Loads them into an engine.
    pub(crate) fn load(&self, socket: &Path) -> Result<()> {
        for Recipe { name, .. } in RECIPES {
            let url = format!("unix://{}", socket.display());
            let mut tar = Command::new("tar");
            let mut tar = tar.arg("-C").arg(self.dir.join(name)).args(["-c", "archive"]);
            tar = tar.args(["--transform=s,^archive/\\?,,"]).stdout(Stdio::piped());
            let mut archive = tar.spawn().context("tar")?;
            let pipe = archive.stdout.take().context("a pipe")?;
            let mut docker = Command::new("docker");
            docker.args(["--host", &url, "load", "--quiet"]).stdin(pipe);
            command::output_of(docker).with_context(|| format!("image {name}"))?;
            command::check(tar, archive.wait()?)?;
        }
        Ok(())
    }

    fn ensure_base(&self, interrupts: &Interrupts) -> Result<()> {
        let dir = self.dir.join("base");
        let wanted = format!("{SUITE}\n{SLIM}\n{}", include_str!("images.rs"));
        if is_made(&dir, &wanted) {
            return Ok(());
        }
        command::say(&format!("making a small Debian {SUITE} in {}", dir.display()));
        let root = anew(&dir)?;
        let script = format!(
            "set -e\n\
             debootstrap --variant=minbase --arch=amd64 --keyring={keyring} {SUITE} {root} {archive}\n\
             mkdir -p {root}/etc/dpkg/dpkg.cfg.d\n\
             printf '{SLIM}' > {root}/etc/dpkg/dpkg.cfg.d/slim\n\
             printf '#!/bin/sh\\nexit 101\\n' > {root}/usr/sbin/policy-rc.d\n\
             chmod 755 {root}/usr/sbin/policy-rc.d\n\
             rm -rf {root}/usr/share/doc/* {root}/usr/share/man/* {root}/usr/share/locale/*\n\
             # Java's package wants it.\n\
             mkdir {root}/usr/share/man/man1\n",
            keyring = suite::KEYRING,
            root = root.display(),
            archive = suite::archive()?,
        );
        run(&dir, &script, interrupts)?;
        layer(&root, &dir.join("layer.tar"))?;
        Ok(fs::write(dir.join(MADE), wanted)?)
    }

    fn ensure_image(&self, recipe: &Recipe, interrupts: &Interrupts) -> Result<()> {
        let dir = self.dir.join(recipe.name);
        let wanted = format!("{recipe:#?}\n{}", include_str!("images.rs"));
        if is_made(&dir, &wanted) {
            return Ok(());
        }
        command::say(&format!("making the image {}", recipe.name));
        let upper = anew(&dir)?;
        let (work, root) = (dir.join("work"), dir.join("whole"));
        fs::create_dir_all(&work)?;
        fs::create_dir_all(&root)?;
        for (path, program, content) in recipe.files {
            let file = upper.join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().context("a directory")?)?;
            fs::write(&file, content)?;
            let mode = if *program { 0o755 } else { 0o644 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        }
        fs::write(dir.join("setup"), recipe.setup)?;
        let script = format!(
            "set -e\n\
             mount -t overlay overlay -o lowerdir={base},upperdir={upper},workdir={work} {root}\n\
             mount -t proc proc {root}/proc\n\
             mount --bind {archives} {root}/var/cache/apt/archives\n\
             cat /etc/resolv.conf > {root}/etc/resolv.conf\n\
             inside() {{ env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
             chroot {root} \"$@\"; }}\n\
             inside apt-get -q -y --no-install-recommends \
             -o Dpkg::Options::=--force-confold install {packages}\n\
             inside sh -e < {dir}/setup\n",
            base = self.dir.join("base/root").display(),
            upper = upper.display(),
            work = work.display(),
            root = root.display(),
            archives = self.dir.join("archives").display(),
            packages = recipe.packages.join(" "),
            dir = dir.display(),
        );
        run(&dir, &script, interrupts)?;
        mark_deleted(&upper)?;
        let archive = dir.join("archive");
        fs::create_dir_all(&archive)?;
        layer(&upper, &archive.join("layer.tar"))?;
        fs::hard_link(self.dir.join("base/layer.tar"), archive.join("base.tar"))?;
        describe(recipe, &archive)?;
        for done in [&upper, &work, &root] {
            fs::remove_dir_all(done)?;
        }
        Ok(fs::write(dir.join(MADE), wanted)?)
    }
}

fn is_made(dir: &Path, wanted: &str) -> bool {
    fs::read_to_string(dir.join(MADE)).is_ok_and(|made| made == wanted)
}

/// An empty directory with an empty `root` in it, which is returned.
fn anew(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let root = dir.join("root");
    fs::create_dir_all(&root)?;
    Ok(root)
}

/// Runs a script whose mounts go with it, whatever ends it.
fn run(dir: &Path, script: &str, interrupts: &Interrupts) -> Result<()> {
    let (file, log) = (dir.join("make"), dir.join("log"));
    fs::write(&file, script)?;
    let said = File::create(&log)?;
    let mut unshare = Command::new("unshare");
    unshare.env("PATH", packages::search_path()).args(["--mount", "sh"]).arg(&file);
    unshare.stdout(said.try_clone()?).stderr(said);
    let status = interrupts.run(&mut unshare)?;
    interrupts.check()?;
    if !status.success() {
        let said = fs::read_to_string(&log)?;
        let last: Vec<_> = said.lines().rev().take(3).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        bail!("it failed ({status}): {}; see {}", last.join("; "), log.display());
    }
    Ok(())
}

/// A deleted file is a device without a number in an overlay, and an empty marker in a layer.
fn mark_deleted(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            mark_deleted(&path)?;
        } else if kind.is_char_device() {
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            fs::remove_file(&path)?;
            File::create(dir.join(format!(".wh.{name}")))?;
        }
    }
    Ok(())
}

fn layer(root: &Path, tar: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--numeric-owner", "--xattrs"]);
    // Directories stay: only their content is left out.
    command.args(LEFT_OUT.map(|path| format!("--exclude={path}/*")));
    command.arg("--exclude=./etc/resolv.conf").arg("-C").arg(root).arg("-cf").arg(tar).arg(".");
    command::output_of(command).map(drop)
}

/// Writes the description of the layers, as `docker load` reads it.
fn describe(recipe: &Recipe, archive: &Path) -> Result<()> {
    let layers = ["base.tar", "layer.tar"];
    let mut ids = Vec::new();
    for layer in layers {
        let sum = command::output("sha256sum", &[&archive.join(layer).to_string_lossy()])?;
        let sum = sum.split(' ').next().context("a sum")?;
        ids.push(format!("sha256:{sum}"));
    }
    let set = |keys: &[&str]| -> Map<String, Value> {
        keys.iter().map(|key| ((*key).to_owned(), json!({}))).collect()
    };
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": recipe.entrypoint,
            "Cmd": recipe.command,
            "Env": recipe.env,
            "User": recipe.user,
            "WorkingDir": recipe.working_dir,
            "ExposedPorts": set(&[&format!("{}/tcp", recipe.port)]),
            "Volumes": set(recipe.volumes),
        },
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let tag = format!("ganger.test/{}:1", recipe.name);
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": layers }]);
    fs::write(archive.join("config.json"), config.to_string())?;
    Ok(fs::write(archive.join("manifest.json"), manifest.to_string())?)
}
