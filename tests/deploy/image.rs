//! The image of deploy/Containerfile, built as its guide says, by buildah.
//!
//! Debian's base comes from a registry, which tests don't ask: here the base is the libraries that the program is
//! linked with, and a shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bowline_lab::kubernetes::Image;
use bowline_lab::{Lab, cni_plugin};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bowline");
/// Its name in the cluster.
pub(crate) const NAME: &str = "bowline.test/bowline:built";

/// Builds it; its path as a docker archive.
pub(crate) fn build(lab: &Lab) -> PathBuf {
    let folder = lab.folder("image").unwrap();
    let ldd = Command::new("ldd").arg(PROGRAM).output().unwrap();
    let libraries = String::from_utf8(ldd.stdout).unwrap();
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let programs = libraries.map(|library| (PathBuf::from(library), library.to_owned())).collect();
    let base = Image { name: "base".into(), programs, entrypoint: Vec::new(), shell: true };
    let base_archive = base.archive(&folder).unwrap();

    let context = folder.join("context");
    fs::create_dir(&context).unwrap();
    fs::copy(PROGRAM, context.join("bowline")).unwrap();
    fs::copy(cni_plugin().unwrap(), context.join("bowline-cni")).unwrap();
    let buildah = |args: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
        let out = command.args(["--storage-driver", "vfs"]).args(args).output().unwrap();
        assert!(out.status.success(), "{command:?}: {out:?}");
    };
    buildah(&["pull", &format!("docker-archive:{}", base_archive.display())]);
    let containerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Containerfile");
    let (argument, file) = (format!("BASE={}", base.full_name()), containerfile.to_str().unwrap());
    buildah(&["build", "--build-arg", &argument, "--tag", NAME, "--file", file, context.to_str().unwrap()]);
    let archive = folder.join("bowline.tar");
    buildah(&["push", NAME, &format!("docker-archive:{}:{NAME}", archive.display())]);
    archive
}
