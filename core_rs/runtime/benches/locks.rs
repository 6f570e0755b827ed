//! What an uncontended pair of lock and unlock costs: by what is recorded, beside the plain lock and two bare time
//! stamps; by the kind of lock, and as a ratio to `parking_lot`'s in the same rounds; what read sections cost, and a
//! reschedule point.
//!
//! Minima over interleaved rounds, in ns for a pair. "alone" is the kind as a type parameter, "any" the kind that is
//! chosen when the lock is made. Limit: an empty operation, which is what a harness adds to each that it times, at
//! most 3 ns.
//!
//! `cargo bench -p pyworkbench-runtime --bench locks`; with `--json` the rows as JSON lines.

use std::hint::black_box;
use std::time::Instant;

use runtime::native::{
    AnyLock, BigReader, Counting, Counts, LockKind, Mcs, Mutex, Native, Off, ParkingLot, Qrwlock, Range,
    RwLockKind, Std, Ticket, Times,
};
use runtime::{LockClass, Runtime, site};

const PAIRS: u32 = 10_000;
const ROUNDS: u32 = 300;

/// What is timed: a row's name, and so many of it.
struct Row {
    name: String,
    run: Box<dyn Fn()>,
    /// The row that this one is a ratio to.
    against: &'static str,
    limit: Option<f64>,
    ns: f64,
}

impl Row {
    fn new<T>(name: &str, against: &'static str, one: impl Fn() -> T + 'static) -> Self {
        let run = move || {
            for _ in 0..PAIRS {
                black_box(one());
            }
        };
        Self { name: name.to_owned(), run: Box::new(run), against, limit: None, ns: f64::INFINITY }
    }

    fn limited(self, ns: f64) -> Self {
        Self { limit: Some(ns), ..self }
    }

    fn time(&mut self) {
        let start = Instant::now();
        (self.run)();
        self.ns = self.ns.min(start.elapsed().as_nanos() as f64 / f64::from(PAIRS));
    }
}

fn main() {
    let mut rows = vec![Row::new("an empty operation", "", || ()).limited(3.0)];
    rows.push(Row::new("plain", "plain", {
        let lock = parking_lot::RwLock::new(());
        move || drop(black_box(&lock).read())
    }));
    rows.extend([counted::<Off>("Off"), counted::<Counts>("Counts"), counted::<Times>("Times")]);
    rows.push(Row::new("two time stamps", "plain", {
        let clock = quanta::Clock::new();
        move || black_box(black_box(&clock).raw()).wrapping_sub(black_box(&clock).raw())
    }));
    rows.extend(kind::<ParkingLot>(LockKind::ParkingLot));
    rows.extend(kind::<Qrwlock>(LockKind::Qrwlock));
    rows.extend(kind::<Std>(LockKind::Std));
    rows.extend(kind::<Ticket>(LockKind::Ticket));
    rows.extend(kind::<Mcs>(LockKind::Mcs));
    rows.extend(kind::<Mutex>(LockKind::Mutex));
    rows.extend(kind::<Range>(LockKind::Range));
    rows.extend(kind::<BigReader>(LockKind::BigReader));
    rows.extend(ranges());
    rows.push(Row::new("rcu", "plain", || drop(Native::<Off>::rcu_read(site!("pair")))));
    rows.push(Row::new("srcu", "plain", {
        let srcu = Native::<Off>::new_srcu("srcu");
        move || drop(Native::<Off>::srcu_read(black_box(&srcu), site!("pair")))
    }));
    rows.push(Row::new("cond_resched, Times, not measured", "plain", || {
        Native::<Times>::cond_resched(site!("pair"));
    }));
    for _ in 0..ROUNDS {
        rows.iter_mut().for_each(Row::time);
    }
    report(&rows);
}

fn counted<C: Counting>(name: &str) -> Row {
    let lock = Native::<C>::new_rwlock("mmu_lock");
    Row::new(name, "plain", move || drop(Native::read(black_box(&lock), site!("pair"))))
}

/// For read and for write, alone and as any lock.
fn kind<K: RwLockKind>(kind: LockKind) -> [Row; 4] {
    let alone = || Native::<Off, K>::new_rwlock("mmu_lock");
    let any = || Native::<Off, AnyLock>::new_rwlock_of(kind, "mmu_lock");
    let (read, write, any_read, any_write) = (alone(), alone(), any(), any());
    let pair = site!("pair");
    [
        Row::new(&format!("{kind}, read, alone"), "parking_lot, read, alone", move || {
            drop(Native::read(black_box(&read), pair));
        }),
        Row::new(&format!("{kind}, read, any"), "parking_lot, read, any", move || {
            drop(Native::read(black_box(&any_read), pair));
        }),
        Row::new(&format!("{kind}, write, alone"), "parking_lot, write, alone", move || {
            drop(Native::write(black_box(&write), pair));
        }),
        Row::new(&format!("{kind}, write, any"), "parking_lot, write, any", move || {
            drop(Native::write(black_box(&any_write), pair));
        }),
    ]
}

/// A lock of ranges where one range is taken, and a plain lock.
fn ranges() -> [Row; 3] {
    type Ranges = Native<Off, Range>;
    let (read, write) = (Ranges::new_rwlock("mmu_lock"), Ranges::new_rwlock("mmu_lock"));
    let lock = Native::<Off>::new_lock("slots_lock", LockClass::Mutex);
    let pair = site!("pair");
    [
        Row::new("range, one range, read", "parking_lot, read, alone", move || {
            drop(Ranges::read_range(black_box(&read), black_box(0x8000_0000), 4096, pair));
        }),
        Row::new("range, one range, write", "parking_lot, write, alone", move || {
            drop(Ranges::write_range(black_box(&write), black_box(0x8000_0000), 4096, pair));
        }),
        Row::new("a plain lock, Off", "parking_lot, write, alone", move || {
            drop(Native::<Off>::lock(black_box(&lock), pair));
        }),
    ]
}

fn report(rows: &[Row]) {
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("{:38}{:>10}{:>8}  against", "ns for a pair, minimum", "ns", "ratio");
    }
    for Row { name, against, limit, ns, .. } in rows {
        let ratio = rows.iter().find(|row| row.name == *against).map(|row| ns / row.ns);
        if json {
            let ratio = ratio.map_or("null".to_owned(), |ratio| format!("{ratio:.3}"));
            let limit = limit.map_or("null".to_owned(), |limit| limit.to_string());
            println!(r#"{{"operation": "{name}", "ns": {ns:.2}, "ratio": {ratio}, "limit_ns": {limit}}}"#);
            continue;
        }
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let verdict =
            limit.filter(|limit| ns > limit).map_or(String::new(), |limit| format!("above {limit} ns"));
        println!("{name:38}{ns:>10.2}{ratio:>8}  {against}{verdict}");
    }
}
