//! Links the program statically where the system's C library allows it.
//!
//! A sendmail-style injector is started once for every message, and loading shared libraries takes longer
//! than the delivery itself (an empty dynamic program: 1.3 ms, an empty static one: 0.8 ms). The usual
//! `-C target-feature=+crt-static` cannot be had for one program of a build with procedural macros, so the
//! linker is handed archives under the names of the shared libraries that it is asked for.
//!
//! Set `LMTP_SEND_DYNAMIC=1` for a dynamic program. Names of hosts are found the same way in both: see
//! `src/transport/resolve.rs`.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "cli")]
    if env::var("CARGO_CFG_UNIX").is_ok() {
        link_before_main("src/before_main.c");
    }
    println!("cargo:rerun-if-env-changed=LMTP_SEND_DYNAMIC");
    println!("cargo:rustc-check-cfg=cfg(statically_linked)");
    let native = env::var("HOST").ok() == env::var("TARGET").ok();
    let gnu = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux")
        && env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu");
    if native && gnu && env::var_os("LMTP_SEND_DYNAMIC").is_none() && link_statically().is_some() {
        println!("cargo:rustc-cfg=statically_linked");
        order_functions("src/first.ld");
    }
}

/// Has the functions of a delivery stand together, as the linker script `script` says (`benches/order` wrote it), where
/// the linker is the one that the compiler brings along: others may not know such scripts.
fn order_functions(script: &str) {
    println!("cargo:rerun-if-changed={script}");
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    let chosen = env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && !chosen
        && env::var_os("RUSTC_LINKER").is_none()
    {
        let here = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{here}/{script}");
    }
}

/// Compiles `source` into the program: an archive would be left out, since nothing calls what is in it.
#[cfg(feature = "cli")]
fn link_before_main(source: &str) {
    println!("cargo:rerun-if-changed={source}");
    for object in cc::Build::new().file(source).compile_intermediates() {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
}

/// Writes linker scripts named like the shared libraries that name the archives instead, and puts them
/// first on the program's search path. `None`, and a dynamic program, where an archive is missing.
fn link_statically() -> Option<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let libc = ["libc.a", "libgcc_eh.a", "libgcc.a"].map(archive);
    let [Some(libc), Some(unwinder), Some(builtins)] = libc else { return None };
    let all = format!("GROUP ( {} {} {} )\n", unwinder.display(), builtins.display(), libc.display());
    fs::write(out.join("libgcc_s.so"), &all).ok()?;
    fs::write(out.join("libc.so"), &all).ok()?;
    for name in ["util", "rt", "pthread", "dl", "m"] {
        let script = format!("INPUT ( {} )\n", archive(&format!("lib{name}.a"))?.display());
        fs::write(out.join(format!("lib{name}.so")), script).ok()?;
    }
    println!("cargo:rustc-link-arg-bins=-L{}", out.display());
    println!("cargo:rustc-link-arg-bins=-static");
    // At an address of its own, an empty delivery took 5 % longer: 58,000 relocations and 15 page faults.
    println!("cargo:rustc-link-arg-bins=-no-pie");
    Some(())
}

/// Where the C compiler finds the archive `name`.
fn archive(name: &str) -> Option<PathBuf> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let printed = Command::new(compiler).arg(format!("-print-file-name={name}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(printed.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}
