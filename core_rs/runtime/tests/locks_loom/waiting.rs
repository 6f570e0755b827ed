//! Waiting, in place of `native/backoff.rs`: loom follows spinning threads without end, round and round each
//! other. Here a thread looks a few times, and then sleeps until every other one sleeps, too, or is over. So a wait
//! ends as a spinning one would, and threads that all wait for ever are seen.

use loom::sync::{Condvar, Mutex, MutexGuard};

/// Looks before a thread sleeps.
const LOOKS: usize = 2;

struct Threads {
    awake: usize,
    asleep: usize,
    /// Times that all were woken.
    rounds: usize,
    /// Whether a thread went on since.
    went_on: bool,
}

loom::lazy_static! {
    static ref THREADS: (Mutex<Threads>, Condvar) =
        (Mutex::new(Threads { awake: 1, asleep: 0, rounds: 0, went_on: true }), Condvar::new());
}

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.0.lock().expect("no thread failed")
}

/// Says that one more thread begins.
pub(super) fn begins() {
    threads().awake += 1;
}

/// Says that a thread is over, or waits for others to be.
pub(super) fn is_over() {
    let mut threads = threads();
    threads.awake -= 1;
    threads.went_on = true;
    wake_if_all_sleep(&mut threads);
}

fn wake_if_all_sleep(threads: &mut Threads) {
    if threads.awake == 0 && threads.asleep > 0 {
        assert!(threads.went_on, "each thread waits for ever");
        threads.awake = threads.asleep;
        threads.asleep = 0;
        threads.went_on = false;
        threads.rounds += 1;
        THREADS.1.notify_all();
    }
}

/// Waits until `condition` holds.
pub(super) fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if condition() {
            return;
        }
        loom::thread::yield_now();
    }
    loop {
        let mut now = threads();
        now.awake -= 1;
        now.asleep += 1;
        let round = now.rounds;
        wake_if_all_sleep(&mut now);
        while now.rounds == round {
            now = THREADS.1.wait(now).expect("no thread failed");
        }
        drop(now);
        if condition() {
            threads().went_on = true;
            return;
        }
    }
}
