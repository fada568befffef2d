//! Has the linker of a release fold functions whose code is the same: each crate has its own copy of what is generic. It is
//! asked for where rustc's own linker (lld) is the default one; others don't know the option.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let has_lld = is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "gnu");
    // A linker of the user's own is named by flags.
    let has_flags = std::env::var_os("CARGO_ENCODED_RUSTFLAGS").is_some_and(|flags| !flags.is_empty());
    if has_lld && !has_flags && is("PROFILE", "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
