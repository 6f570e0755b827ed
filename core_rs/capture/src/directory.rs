//! A capture's directory: which files it has, read and parsed side by side.
//!
//! Names are `ops.S.jsonl`, `s2.S.jsonl`, `trace.S.txt` and `ptdump.S.txt`, each with or without `.gz`, where
//! S names a scenario (a stretch of tracing); a user's own may be called `trace.txt` and `ptdump.txt`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::env::{self, Environment, parse_environment};
use crate::error::{Blame, CaptureError};
use crate::ftrace::{self, read_ftrace};
use crate::packed::{self, read_ops};
use crate::ptdump::{Dump, parse_ptdump};
use crate::snapshot::{Snapshot, parse_snapshots};
use crate::trace::Trace;

/// Which form of a trace is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The packed file where there is one, the raw trace otherwise.
    #[default]
    Auto,
    /// Packed files only.
    Packed,
    /// Raw traces only.
    Raw,
}

impl Source {
    /// Leaves out the traces of the form that is not to be read.
    fn choose(self, files: &mut Vec<File>) {
        match self {
            Self::Auto => {
                let packed: HashSet<_> = files
                    .iter()
                    .filter(|file| file.form == Form::Ops)
                    .map(|file| file.scenario.clone())
                    .collect();
                files.retain(|file| file.form != Form::Trace || !packed.contains(&file.scenario));
            }
            Self::Packed => files.retain(|file| file.form != Form::Trace),
            Self::Raw => files.retain(|file| file.form != Form::Ops),
        }
    }

    /// The error for a directory without a trace of this form.
    pub(crate) fn nothing_in(self, directory: &Path) -> CaptureError {
        let (cause, expected) = match self {
            Self::Auto => ("it holds no trace", "ops.*.jsonl.gz, or trace.*.txt or trace.*.txt.gz"),
            Self::Packed => ("it holds no packed trace", "ops.*.jsonl or ops.*.jsonl.gz"),
            Self::Raw => ("it holds no raw trace", "trace.*.txt or trace.*.txt.gz"),
        };
        incomplete(directory, cause, expected)
    }
}

/// The traces that lie in a directory itself, each with its file; none is not an error here.
pub(crate) fn traces_in(directory: &Path, source: Source) -> Result<Vec<(String, Trace)>, CaptureError> {
    let mut files = list(directory)?;
    source.choose(&mut files);
    files.retain(|file| matches!(file.form, Form::Ops | Form::Trace));
    let mut traces = Vec::new();
    for (file, parsed) in files.iter().zip(parse_all(&files)) {
        let (name, Parsed::Trace(trace)) = (file.name(), parsed?) else { continue };
        let blame = if file.form == Form::Ops { packed::blame(&name) } else { ftrace::blame(&name) };
        let trace = trace.judged(blame)?;
        traces.push((name, trace));
    }
    Ok(traces)
}

/// What a directory holds.
pub(crate) struct Capture {
    pub(crate) env: Environment,
    /// Ordered by time.
    pub(crate) scenarios: Vec<Scenario>,
    /// Each with its file.
    pub(crate) snapshots: Vec<(String, Snapshot)>,
    /// Each with its file.
    pub(crate) dumps: Vec<(String, Dump)>,
}

/// One stretch of tracing.
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// The trace's file.
    pub(crate) file: String,
    pub(crate) is_packed: bool,
    pub(crate) trace: Trace,
}

impl Scenario {
    /// Whom to blame for a fault of the trace.
    pub(crate) fn blame(&self) -> Blame<'_> {
        if self.is_packed { packed::blame(&self.file) } else { ftrace::blame(&self.file) }
    }
}

impl Capture {
    /// Reads a directory. The error is that of the first bad file, in the order of their names.
    pub(crate) fn read(directory: &Path, source: Source) -> Result<Self, CaptureError> {
        let mut files = list(directory)?;
        let env = read_environment(directory)?;
        source.choose(&mut files);
        let mut capture = Self { env, scenarios: Vec::new(), snapshots: Vec::new(), dumps: Vec::new() };
        for (file, parsed) in files.iter().zip(parse_all(&files)) {
            let name = file.name();
            match parsed? {
                Parsed::Trace(trace) => capture.scenarios.push(Scenario {
                    name: file.scenario.clone(),
                    file: name,
                    is_packed: file.form == Form::Ops,
                    trace,
                }),
                Parsed::Snapshots(snapshots) => {
                    capture.snapshots.extend(snapshots.into_iter().map(|snapshot| (name.clone(), snapshot)));
                }
                Parsed::Dumps(dumps) => {
                    capture.dumps.extend(dumps.into_iter().map(|dump| (name.clone(), dump)));
                }
            }
        }
        if capture.scenarios.is_empty() {
            return Err(source.nothing_in(directory));
        }
        capture.scenarios.sort_by_key(|scenario| scenario.trace.records.first().map(|record| record.t0_us));
        Ok(capture)
    }
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Ops,
    Trace,
    Snapshots,
    Dumps,
}

impl Form {
    /// Before and after the name of the scenario.
    const NAMES: [(Self, &str, &str); 4] = [
        (Self::Ops, "ops", ".jsonl"),
        (Self::Trace, "trace", ".txt"),
        (Self::Snapshots, "s2", ".jsonl"),
        (Self::Dumps, "ptdump", ".txt"),
    ];

    fn parse(self, bytes: &[u8], name: &str) -> Result<Parsed, CaptureError> {
        match self {
            Self::Ops => read_ops(bytes, packed::blame(name)).map(Parsed::Trace),
            Self::Trace => read_ftrace(bytes, ftrace::blame(name)).map(Parsed::Trace),
            Self::Snapshots => parse_snapshots(bytes, name).map(Parsed::Snapshots),
            Self::Dumps => parse_ptdump(bytes, name).map(Parsed::Dumps),
        }
    }
}

/// What came out of a file.
enum Parsed {
    Trace(Trace),
    Snapshots(Vec<Snapshot>),
    Dumps(Vec<Dump>),
}

struct File {
    scenario: String,
    form: Form,
    path: PathBuf,
    bytes: u64,
}

impl File {
    fn of(path: &Path, bytes: u64) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".gz").unwrap_or(name);
        Form::NAMES.into_iter().find_map(|(form, before, after)| {
            let scenario = name.strip_prefix(before)?.strip_suffix(after)?;
            let scenario = if scenario.is_empty() { "" } else { scenario.strip_prefix('.')? };
            Some(Self { scenario: scenario.to_owned(), form, path: path.to_owned(), bytes })
        })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn parse(&self) -> Result<Parsed, CaptureError> {
        let name = self.name();
        match fs::read(&self.path) {
            Ok(bytes) => self.form.parse(&bytes, &name),
            Err(source) => Err(CaptureError::refused(&self.path, source, "a file of a capture")),
        }
    }
}

fn list(directory: &Path) -> Result<Vec<File>, CaptureError> {
    let refused = |source| CaptureError::refused(directory, source, "the directory of a capture");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        files.extend(File::of(&entry.path(), bytes));
    }
    files.sort_by(|one, other| {
        (&one.scenario, one.form, &one.path).cmp(&(&other.scenario, other.form, &other.path))
    });
    for pair in files.windows(2) {
        if (&pair[0].scenario, pair[0].form) == (&pair[1].scenario, pair[1].form) {
            let cause = format!("{} and {} are the same thing twice", pair[0].name(), pair[1].name());
            return Err(incomplete(directory, &cause, "one of them"));
        }
    }
    Ok(files)
}

fn read_environment(directory: &Path) -> Result<Environment, CaptureError> {
    let path = directory.join("env.json");
    let name = path.display().to_string();
    match fs::read(&path) {
        Ok(bytes) => parse_environment(&bytes, &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(incomplete(directory, "it holds no env.json", env::EXPECTED))
        }
        Err(source) => Err(CaptureError::refused(&path, source, env::EXPECTED)),
    }
}

fn incomplete(directory: &Path, cause: &str, expected: &str) -> CaptureError {
    CaptureError::Directory {
        path: directory.display().to_string(),
        cause: cause.to_owned(),
        expected: expected.to_owned(),
    }
}

/// Parses all files on as many threads as the machine runs at once, the largest first; the results come in
/// the order of the files.
fn parse_all(files: &[File]) -> Vec<Result<Parsed, CaptureError>> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&file| Reverse(files[file].bytes));
    let results: Vec<_> = files.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&file) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            *results[file].lock().expect("no worker panics") = Some(files[file].parse());
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(files.len());
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    results.into_iter().filter_map(|result| result.into_inner().expect("no worker panics")).collect()
}
