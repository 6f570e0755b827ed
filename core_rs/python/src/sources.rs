//! The identity of the core's sources: 16 hex digits over what the extension is built from.
//!
//! Guaranteed: the build script and the running extension compile this same file, so equal sources have
//! equal identities, wherever the checkout lies and whatever git thinks of it. Not guaranteed: strength
//! against an adversary (FNV-1a, 64 bits: the FNV reference by Fowler, Noll and Vo).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The identity of the workspace at `core`.
pub(crate) fn identity(core: &Path) -> io::Result<String> {
    let mut hash = Fnv1a::new();
    for file in files(core)? {
        let name = file.strip_prefix(core).expect("listed below the workspace");
        hash.update(name.as_os_str().as_encoded_bytes());
        let text = fs::read(&file)?;
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(&text);
    }
    Ok(format!("{:016x}", hash.0))
}

/// What goes into the extension, in a fixed order: the lock file, the manifests and every crate's `src`.
/// Tests, benches and fuzz targets do not: editing one leaves the extension fresh.
pub(crate) fn files(core: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![core.join("Cargo.lock"), core.join("Cargo.toml")];
    for folder in folders(core)? {
        let krate = folder.parent().expect("src lies in a crate");
        files.extend(["Cargo.toml", "build.rs"].map(|name| krate.join(name)));
        list(&folder, &mut files)?;
    }
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// The `src` folders of the workspace's crates.
pub(crate) fn folders(core: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(core)? {
        let krate = entry?.path();
        if krate.join("Cargo.toml").is_file() && krate.join("src").is_dir() {
            folders.push(krate.join("src"));
        }
    }
    Ok(folders)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

struct Fnv1a(u64);

impl Fnv1a {
    fn new() -> Self {
        Self(0xcbf29ce484222325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100000001b3);
        }
    }
}
