//! Builds the kernel programs (`ebpf/programs`) and hands their objects to `include_bytes!`: that for sockets, and that for
//! packets.
//!
//! The target `bpfel-unknown-none` has no prebuilt `core`, so a toolchain with its own library source is
//! needed: `BOWLINE_BPF_TOOLCHAIN` if set, otherwise rustup's `bpf` (what `scripts/setup` links to the
//! distribution's compiler), otherwise `nightly`. `BOWLINE_BPF_OBJECTS` names a folder of ready objects instead.

#![allow(clippy::expect_used, clippy::panic, reason = "a build script reports by ending")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let ebpf = here.join("../ebpf");
    for watched in ["src", "Cargo.toml", "programs/src", "programs/Cargo.toml", "programs/Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", ebpf.join(watched).display());
    }
    for variable in ["BOWLINE_BPF_TOOLCHAIN", "BOWLINE_BPF_OBJECTS"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let objects = match env::var_os("BOWLINE_BPF_OBJECTS") {
        Some(ready) => PathBuf::from(ready),
        None => build(&ebpf.join("programs"), &out),
    };
    for name in ["bowline", "packets"] {
        let object = objects.join(name);
        if let Err(error) = fs::copy(&object, out.join(format!("{name}.bpf.o"))) {
            panic!("no kernel programs at {}: {error}", object.display());
        }
    }
}

fn build(programs: &Path, out: &Path) -> PathBuf {
    let toolchain = toolchain();
    let target_dir = out.join("programs");
    let mut cargo = Command::new("cargo");
    // Whatever the outer build says of flags, targets and wrappers is not for this target.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if (name.starts_with("CARGO") && name != "CARGO_HOME") || name.starts_with("RUSTC") || name == "RUSTFLAGS" {
            cargo.env_remove(&name);
        }
    }
    cargo
        .arg(format!("+{toolchain}"))
        .args(["build", "--release", "--locked", "-Z", "build-std=core", "--target", "bpfel-unknown-none"])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(programs)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTC_BOOTSTRAP", "1")
        // The CPU decides which atomic instructions there are; without --btf the maps have no types.
        .env("RUSTFLAGS", "-C target-cpu=v3 -C debuginfo=2 -C link-arg=--btf");
    if env::var_os("CARGO_FEATURE_LAYOUT_NEXT").is_some() {
        cargo.args(["--features", "layout-next"]);
    }
    match cargo.status() {
        Ok(status) if status.success() => target_dir.join("bpfel-unknown-none/release"),
        Ok(status) => {
            panic!("the kernel programs do not build with toolchain {toolchain} ({status}): run scripts/setup build")
        }
        Err(error) => panic!("cargo cannot be started for the kernel programs: {error}"),
    }
}

fn toolchain() -> String {
    if let Ok(named) = env::var("BOWLINE_BPF_TOOLCHAIN") {
        return named;
    }
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    let listed = listed.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let name = if listed.lines().any(|l| l.split_whitespace().next() == Some("bpf")) { "bpf" } else { "nightly" };
    name.to_owned()
}
