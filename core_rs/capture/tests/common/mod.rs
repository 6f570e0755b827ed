//! Where the captures lie, their text, and directories that a test fills for itself.
#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::read::GzDecoder;

/// The captures of this repository.
pub(crate) fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/captures")
}

/// The bytes of one of their files.
pub(crate) fn bytes(file: &str) -> Vec<u8> {
    let path = captures().join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of one of their files.
pub(crate) fn text(file: &str) -> String {
    let bytes = bytes(file);
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(bytes).unwrap();
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text
}

/// The lines of a text, each with its end.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A directory of its own, removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// An empty one.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("capture-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With copies of files of a capture.
    pub(crate) fn of(capture: &str, files: &[&str]) -> Self {
        let directory = Self::new();
        for file in files {
            directory.put(file, bytes(&format!("{capture}/{file}")));
        }
        directory
    }

    /// Adds or replaces a file.
    pub(crate) fn put(&self, file: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.join(file), content).unwrap();
        self
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
