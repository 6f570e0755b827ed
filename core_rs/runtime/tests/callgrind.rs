//! With [`Off`] a pair of lock and unlock through the runtime executes exactly as many instructions
//! as a pair on `parking_lot`'s own lock: counted by valgrind's callgrind, where there is one.

use std::env;
use std::hint::black_box;
use std::process::Command;

use runtime::native::{Native, Off};
use runtime::{LockClass, Runtime, site};

type Native0 = Native<Off>;

/// What the copy of this test under callgrind runs: a name below and how often.
const PAIRS: &str = "RUNTIME_CALLGRIND_PAIRS";

/// A kind of lock, its pairs on the plain lock, and its pairs through the runtime.
type Kind = (&'static str, fn(usize), fn(usize));

const KINDS: [Kind; 3] = [
    ("read", plain_reads, runtime_reads),
    ("write", plain_writes, runtime_writes),
    ("mutex", plain_locks, runtime_locks),
];

#[test]
fn off_executes_the_instructions_of_the_plain_lock() {
    if let Ok(asked) = env::var(PAIRS) {
        return run(&asked);
    }
    if cfg!(debug_assertions) {
        return println!("skipped: instructions are compared in the release profile only");
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return println!("skipped: there is no valgrind on this machine");
    }
    for (kind, ..) in KINDS {
        let (plain, off) = (instructions_a_pair(kind, "plain"), instructions_a_pair(kind, "off"));
        println!("{kind}: {plain:.3} instructions a pair on the plain lock, {off:.3} with Off");
        assert!(plain > 1.0, "{kind}: the pairs were optimised away");
        assert!((plain - off).abs() < 0.05, "{kind}: {plain} on the plain lock, {off} with Off");
    }
}

/// From two runs of different length, so that start-up cancels.
fn instructions_a_pair(kind: &str, lock: &str) -> f64 {
    const FEW: usize = 10_000;
    const MANY: usize = 210_000;
    let counted = |pairs| instructions(&format!("{kind} {lock} {pairs}")) as f64;
    (counted(MANY) - counted(FEW)) / (MANY - FEW) as f64
}

/// The instructions that a copy of this test executes under callgrind.
fn instructions(asked: &str) -> u64 {
    let this = env::current_exe().expect("a test has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--exact", "off_executes_the_instructions_of_the_plain_lock", "--test-threads=1"])
        .env(PAIRS, asked)
        .output()
        .expect("valgrind starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "valgrind failed for `{asked}`:\n{log}");
    let collected = log.lines().find_map(|line| line.split_once("Collected :"));
    let figure = collected.and_then(|(_, figure)| figure.trim().parse().ok());
    figure.unwrap_or_else(|| panic!("callgrind printed no count for `{asked}`:\n{log}"))
}

fn run(asked: &str) {
    let [kind, lock, pairs] = asked.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{PAIRS} is `{asked}`, not a kind, a lock and a count");
    };
    let (_, plain, off) = KINDS.into_iter().find(|(name, ..)| *name == kind).expect("a known kind");
    let pairs = pairs.parse().expect("a count");
    if lock == "plain" { plain(pairs) } else { off(pairs) }
}

fn plain_reads(pairs: usize) {
    let lock = parking_lot::RwLock::new(());
    for _ in 0..pairs {
        drop(black_box(&lock).read());
    }
}

fn runtime_reads(pairs: usize) {
    let lock = Native0::new_rwlock("lock");
    for _ in 0..pairs {
        drop(Native::read(black_box(&lock), site!("pair")));
    }
}

fn plain_writes(pairs: usize) {
    let lock = parking_lot::RwLock::new(());
    for _ in 0..pairs {
        drop(black_box(&lock).write());
    }
}

fn runtime_writes(pairs: usize) {
    let lock = Native0::new_rwlock("lock");
    for _ in 0..pairs {
        drop(Native::write(black_box(&lock), site!("pair")));
    }
}

fn plain_locks(pairs: usize) {
    let lock = parking_lot::Mutex::new(());
    for _ in 0..pairs {
        drop(black_box(&lock).lock());
    }
}

fn runtime_locks(pairs: usize) {
    let lock = Native0::new_lock("lock", LockClass::Mutex);
    for _ in 0..pairs {
        drop(Native0::lock(black_box(&lock), site!("pair")));
    }
}
