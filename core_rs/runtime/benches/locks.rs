//! What the counters of a lock cost: uncontended pairs of lock and unlock, alone and around the work
//! of a shared fault, by what is recorded.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use runtime::native::{Counting, Counts, Native, Off, Times};
use runtime::{Access, Runtime, Word, site};

/// About as long as a shared fault takes, which is 45 ns: loads that wait for one another, and a
/// compare-exchange.
fn fault(words: &[Word]) {
    let mut at = 0;
    for _ in 0..56 {
        at = Native::<Off>::load(&words[at as usize], Access::Marked, site!("walk"));
    }
    let installed = Native::<Off>::compare_exchange(&words[0], 1, 1, site!("install"));
    black_box((at, installed).1.is_ok());
}

fn ring() -> Vec<Word> {
    (0..64).map(|at| Word::new((at + 1) % 64)).collect()
}

fn plain(c: &mut Criterion) {
    let lock = parking_lot::RwLock::new(());
    let words = ring();
    c.bench_function("pair/plain", |b| b.iter(|| drop(black_box(&lock).read())));
    c.bench_function("fault/no lock", |b| b.iter(|| fault(black_box(&words))));
    c.bench_function("fault/plain", |b| {
        b.iter(|| {
            let _guard = black_box(&lock).read();
            fault(black_box(&words));
        });
    });
}

fn counted<C: Counting>(c: &mut Criterion, name: &str) {
    let lock = Native::<C>::new_rwlock("mmu_lock");
    let words = ring();
    c.bench_function(&format!("pair/{name}"), |b| {
        b.iter(|| drop(Native::read(black_box(&lock), site!("pair"))));
    });
    c.bench_function(&format!("fault/{name}"), |b| {
        b.iter(|| {
            let _guard = Native::read(black_box(&lock), site!("fault"));
            fault(black_box(&words));
        });
    });
}

fn sections(c: &mut Criterion) {
    let clock = quanta::Clock::new();
    let srcu = Native::<Off>::new_srcu("srcu");
    c.bench_function("pair/two time stamps", |b| {
        b.iter(|| black_box(black_box(&clock).raw()).wrapping_sub(black_box(&clock).raw()));
    });
    c.bench_function("pair/rcu", |b| b.iter(|| drop(Native::<Off>::rcu_read(site!("pair")))));
    c.bench_function("pair/srcu", |b| {
        b.iter(|| drop(Native::<Off>::srcu_read(black_box(&srcu), site!("pair"))));
    });
}

fn locks(c: &mut Criterion) {
    plain(c);
    counted::<Off>(c, "Off");
    counted::<Counts>(c, "Counts");
    counted::<Times>(c, "Times");
    sections(c);
}

criterion_group!(benches, locks);
criterion_main!(benches);
