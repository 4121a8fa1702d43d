//! Seedbook's programs as the present source gives them.
//!
//! Before it runs a package's tests, cargo builds that package's binaries, and none of other packages. So the
//! first test of a process that needs one has cargo build it, offline and with the profile of the test.
//! Whoever has built everything already, as `scripts/test` has, says where in SEEDBOOK_BIN.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use parking_lot::Mutex;

use crate::repository;

/// A folder with built programs to use instead of building them; `scripts/up` takes it too.
const BUILT: &str = "SEEDBOOK_BIN";

/// What this process had built.
static PRESENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// One of the workspace's binaries, built from the present source.
///
/// # Panics
/// With cargo's own words when it cannot be built.
pub fn binary(name: &str) -> PathBuf {
    if std::env::var_os(BUILT).is_none() {
        build_once(name);
    }
    let path = binary_folder().join(name);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// Where the binaries are: in SEEDBOOK_BIN, else where cargo put the running program.
#[must_use]
pub fn binary_folder() -> PathBuf {
    std::env::var_os(BUILT).map_or_else(own_folder, PathBuf::from)
}

/// The folder of the running program, or the folder above that of the running test.
fn own_folder() -> PathBuf {
    let running = std::env::current_exe().expect("a process knows its own path");
    let folder = running.parent().expect("a program is in a folder");
    if folder.ends_with("deps") { folder.parent().expect("deps is in target/PROFILE") } else { folder }
        .to_owned()
}

/// Tests run at the same time: those that come second wait until the first has it built.
fn build_once(name: &str) {
    let mut present = PRESENT.lock();
    if present.contains(name) {
        return;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(arguments(name, &own_folder())).current_dir(repository()).output();
    let output = output.unwrap_or_else(|error| panic!("cargo, to build {name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} cannot be built from the present source:\n{said}");
    present.insert(name.to_owned());
}

/// As part of the workspace, so that its dependencies are those that are built already: alone it would have
/// them with fewer features, and cargo would build them all again.
fn arguments(name: &str, folder: &Path) -> Vec<OsString> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let target = folder.parent().unwrap_or(folder);
    let fixed =
        ["build", "--quiet", "--locked", "--offline", "--workspace", "--bin", name, "--profile", profile];
    let mut arguments: Vec<OsString> = fixed.map(OsString::from).to_vec();
    arguments.extend(["--target-dir".into(), target.into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_built_as_the_test_was() {
        let given = |folder: &str| arguments("tracker", Path::new(folder)).join(" ".as_ref());
        let debug = given("/else/target/debug").into_string().unwrap();
        assert!(debug.contains("--bin tracker --profile dev --target-dir /else/target"), "{debug}");
        let release = given("/else/target/release").into_string().unwrap();
        assert!(release.ends_with("--profile release --target-dir /else/target"), "{release}");
    }
}
