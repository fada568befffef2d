//! Container images from programs of this machine. No registry is in reach, and none is needed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::binary;
use crate::lab::run;

/// How all names of images begin.
pub(crate) const REGISTRY: &str = "bowline.test";
/// The tag of all images.
pub(crate) const TAG: &str = "lab";

/// An image to make.
#[derive(Clone, Debug)]
pub struct Image {
    /// `NAME` of `bowline.test/NAME:lab`.
    pub name: String,
    /// Programs of this machine, with where they are to be. What they are linked with comes along.
    pub programs: Vec<(PathBuf, String)>,
    /// What runs unless a pod says otherwise.
    pub entrypoint: Vec<String>,
    /// Whether there are a shell and the usual commands.
    pub shell: bool,
}

impl Image {
    /// A program alone, in `/`, with a shell beside it.
    pub fn of(name: &str, program: PathBuf) -> Image {
        let at = format!("/{name}");
        Image { name: name.into(), programs: vec![(program, at.clone())], entrypoint: vec![at], shell: true }
    }

    /// Bowline, with the plugin that stands beside it, where deploy/Containerfile has both.
    pub fn bowline(program: PathBuf) -> Image {
        let plugin = program.with_file_name("bowline-cni");
        let at = |name: &str| format!("/usr/local/bin/{name}");
        let mut programs = vec![(program, at("bowline"))];
        if plugin.is_file() {
            programs.push((plugin, at("bowline-cni")));
        }
        Image { name: "bowline".into(), programs, entrypoint: vec![at("bowline")], shell: true }
    }

    /// The full name, as manifests have it.
    pub fn full_name(&self) -> String {
        image(&self.name)
    }

    /// Makes a docker archive in this folder, and returns its path.
    pub fn archive(&self, folder: &Path) -> Result<PathBuf> {
        let work = folder.join(format!("{}.image", self.name));
        let root = work.join("root");
        for dir in ["tmp", "bin", "etc"] {
            fs::create_dir_all(root.join(dir)).with_context(|| format!("cannot make {}", root.display()))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        for (program, at) in &self.programs {
            copy(program, &root, at)?;
            for library in libraries(program)? {
                copy(&library, &root, &library.to_string_lossy())?;
            }
        }
        if self.shell {
            add_shell(&root)?;
        }
        let (layer, config) = (work.join("layer.tar"), work.join("config.json"));
        run(Command::new("tar").args(["--owner=0", "--group=0", "-cf"]).arg(&layer).arg("-C").arg(&root).arg("."))?;
        let sum = Command::new("sha256sum").arg(&layer).output().context("cannot start sha256sum")?;
        let sum = String::from_utf8_lossy(&sum.stdout);
        let sum = sum.split(' ').next().filter(|sum| sum.len() == 64).context("sha256sum gave no sum")?;
        let own_path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/";
        write(
            &config,
            &json!({
                "architecture": architecture(),
                "os": "linux",
                "config": {"Entrypoint": self.entrypoint, "Env": [own_path]},
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
            }),
        )?;
        let manifest = work.join("manifest.json");
        write(
            &manifest,
            &json!([
                {"Config": "config.json", "RepoTags": [self.full_name()], "Layers": ["layer.tar"]}
            ]),
        )?;
        let archive = folder.join(format!("{}.tar", self.name));
        let files = ["manifest.json", "config.json", "layer.tar"];
        run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&work).args(files))?;
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
        Ok(archive)
    }
}

/// The full name of an image of ours: `bowline.test/NAME:lab`.
pub fn image(name: &str) -> String {
    format!("{REGISTRY}/{name}:{TAG}")
}

/// What every cluster has: `pause`, `busybox` (with curl) and `agnhost`.
pub(crate) fn usual() -> Result<Vec<Image>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let busybox = |name: &str, entrypoint: &[&str]| Image {
        name: name.into(),
        programs: Vec::new(),
        entrypoint: words(entrypoint),
        shell: true,
    };
    Ok(vec![
        // It only has to be there; the runtime ends it by SIGKILL.
        busybox("pause", &["/bin/sleep", "2147483647"]),
        // busybox's own wget can't ask for a name: it crashes where it is linked statically.
        Image { programs: vec![(found("curl")?, "/usr/bin/curl".into())], ..busybox("busybox", &["/bin/sh"]) },
        Image::of("agnhost", binary("agnhost")?),
    ])
}

/// A program on PATH.
fn found(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file());
    found.with_context(|| format!("{name} isn't on PATH: run 'scripts/setup kubernetes'"))
}

/// busybox under all its names.
fn add_shell(root: &Path) -> Result<()> {
    let busybox = found("busybox")?;
    copy(&busybox, root, "/bin/busybox")?;
    for library in libraries(&busybox)? {
        copy(&library, root, &library.to_string_lossy())?;
    }
    let listed = Command::new(&busybox).arg("--list").output().context("cannot start busybox")?;
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|&name| name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    Ok(())
}

/// The libraries that a program is linked with, and its loader, as the loader itself would find them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let said = String::from_utf8_lossy(&ldd.stdout);
    // A static program: ldd fails. Lines are "libc.so.6 => /lib/...(0x...)" and "/lib64/ld-... (0x...)".
    ensure!(!said.contains("not found"), "{} lacks a library: {said}", program.display());
    Ok(said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy(from: &Path, root: &Path, at: &str) -> Result<()> {
    let to = root.join(at.trim_start_matches('/'));
    let made = to.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::copy(from, &to)).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn write(path: &Path, value: &serde_json::Value) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// This machine's, as images have it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
