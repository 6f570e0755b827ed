//! Puts the identity of the core's sources into the extension, so that an import can tell a stale one.

use std::path::Path;

#[path = "src/sources.rs"]
mod sources;

fn main() {
    let core = Path::new(".."); // cargo runs build scripts in the crate's folder
    let id = sources::identity(core).expect("the workspace's sources can be read");
    let files = sources::files(core).expect("the workspace's sources can be listed");
    // A new file changes none of those listed, but it changes the time of its folder.
    let folders = sources::folders(core).expect("the workspace's crates can be listed");
    for path in files.iter().chain(&folders) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rustc-env=PYWORKBENCH_BUILD_ID={id}");
}
