//! The queue lock of Mellor-Crummey and Scott.
//!
//! Guarantee: mutual exclusion, first come first served, and each waiter looks at a cache line of its own. Own
//! code because `mcslock` has the queue node borrowed by a closure, where a guard of ours lives as long as it likes
//! (its locks with guards are barging ones). Here a thread's node is found by its index, as the kernel's qspinlock
//! finds it by the processor. Threads without an index of their own share one node, and spin for it unfairly.
//!
//! This file and its neighbours name no atomic of their own: `sync` is std's in the crate, loom's in
//! `tests/locks_loom`.

use super::backoff::until;
use super::raw::{Raw, Span};
use super::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// A waiter's place in a queue, on a cache line of its own.
#[repr(align(128))]
struct Node {
    /// The successor's index + 1; 0 while there is none.
    next: AtomicUsize,
    waiting: AtomicBool,
}

impl Node {
    fn new() -> Self {
        Self { next: AtomicUsize::new(0), waiting: AtomicBool::new(false) }
    }
}

/// A node for each thread that has an index of its own; a thread waits in at most one of the queues that share them.
pub(super) struct Nodes(Box<[Node]>);

impl Nodes {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Node::new()).collect())
    }

    /// Whether the thread of this index has no node of its own.
    #[inline]
    fn lacks(&self, index: usize) -> bool {
        index >= self.0.len()
    }
}

/// One queue: the lock itself.
pub(super) struct Queue {
    /// The last in the queue, its index + 1; 0 while the lock is free.
    tail: AtomicUsize,
    /// Whether one of the threads that share a node uses it.
    shared_used: AtomicBool,
    shared: Box<Node>,
}

/// The index of the node with which the lock is held.
#[derive(Clone, Copy)]
pub struct Turn(usize);

impl Queue {
    pub(super) fn new() -> Self {
        Self { tail: AtomicUsize::new(0), shared_used: AtomicBool::new(false), shared: Box::new(Node::new()) }
    }

    #[inline]
    pub(super) fn try_lock(&self, nodes: &Nodes) -> Option<Turn> {
        if self.tail.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let me = super::index();
        if nodes.lacks(me) && !self.take_shared() {
            return None;
        }
        self.node(me, nodes).next.store(0, Ordering::Relaxed);
        if self.tail.compare_exchange(0, me + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(Turn(me));
        }
        self.give_back(me, nodes);
        None
    }

    pub(super) fn lock(&self, nodes: &Nodes) -> Turn {
        let me = super::index();
        if nodes.lacks(me) {
            until(|| self.take_shared());
        }
        let node = self.node(me, nodes);
        node.next.store(0, Ordering::Relaxed);
        node.waiting.store(true, Ordering::Relaxed);
        let before = self.tail.swap(me + 1, Ordering::AcqRel);
        if before != 0 {
            self.node(before - 1, nodes).next.store(me + 1, Ordering::Release);
            until(|| !node.waiting.load(Ordering::Acquire));
        }
        Turn(me)
    }

    #[inline]
    pub(super) fn unlock(&self, nodes: &Nodes, Turn(me): Turn) {
        let node = self.node(me, nodes);
        let mut next = node.next.load(Ordering::Acquire);
        if next == 0 {
            if self.tail.compare_exchange(me + 1, 0, Ordering::Release, Ordering::Relaxed).is_ok() {
                return self.give_back(me, nodes);
            }
            // Somebody is in the queue and has not told us yet.
            until(|| {
                next = node.next.load(Ordering::Acquire);
                next != 0
            });
        }
        self.node(next - 1, nodes).waiting.store(false, Ordering::Release);
        self.give_back(me, nodes);
    }

    #[inline]
    fn node<'a>(&'a self, index: usize, nodes: &'a Nodes) -> &'a Node {
        nodes.0.get(index).unwrap_or(&self.shared)
    }

    fn take_shared(&self) -> bool {
        self.shared_used.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn give_back(&self, me: usize, nodes: &Nodes) {
        if nodes.lacks(me) {
            self.shared_used.store(false, Ordering::Release);
        }
    }
}

/// A [`Queue`] with nodes of its own. It has no read side: a reader takes it as a writer does.
pub struct McsLock {
    queue: Queue,
    last: AtomicU32,
    nodes: Nodes,
}

impl McsLock {
    pub(super) fn new(threads: usize) -> Self {
        Self { queue: Queue::new(), last: super::maker(), nodes: Nodes::new(threads) }
    }
}

impl Raw for McsLock {
    type Read = Turn;
    type Write = Turn;

    #[inline]
    fn try_read(&self, span: Span) -> Option<Turn> {
        self.try_write(span)
    }

    fn read(&self, span: Span) -> Turn {
        self.write(span)
    }

    #[inline]
    fn unlock_read(&self, held: Turn) {
        self.unlock_write(held);
    }

    #[inline]
    fn try_write(&self, _span: Span) -> Option<Turn> {
        self.queue.try_lock(&self.nodes)
    }

    fn write(&self, _span: Span) -> Turn {
        self.queue.lock(&self.nodes)
    }

    #[inline]
    fn unlock_write(&self, held: Turn) {
        self.queue.unlock(&self.nodes, held);
    }

    #[inline]
    fn last(&self, _writes: bool, _span: Span) -> Option<&AtomicU32> {
        Some(&self.last)
    }
}
