//! What an uncontended pair of lock and unlock costs, by what is recorded, beside the plain lock and two
//! bare time stamps; and what read sections cost.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use runtime::native::{Counting, Counts, Native, Off, Times};
use runtime::{Runtime, site};

fn plain(c: &mut Criterion) {
    let lock = parking_lot::RwLock::new(());
    c.bench_function("pair/plain", |b| b.iter(|| drop(black_box(&lock).read())));
}

fn counted<C: Counting>(c: &mut Criterion, name: &str) {
    let lock = Native::<C>::new_rwlock("mmu_lock");
    c.bench_function(&format!("pair/{name}"), |b| {
        b.iter(|| drop(Native::read(black_box(&lock), site!("pair"))));
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
