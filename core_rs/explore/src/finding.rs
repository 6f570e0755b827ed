//! What is found wrong: its kind, its object by name, and where it comes from.

use std::fmt;

use runtime::scheduled::Execution;

use crate::schedule::Schedule;

/// The kinds of findings, those that are harm first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An access to an object that was freed.
    UseAfterFree,
    /// An object that was freed is freed again.
    DoubleFree,
    /// Something is freed that is no allocation.
    BadFree,
    /// An access through a pointer that is NULL.
    NullDereference,
    /// An access through a pointer to nothing that ever was.
    WildPointer,
    /// An access beyond the end of an array.
    OutOfBounds,
    /// A reference count falls below zero.
    CountUnderflow,
    /// A stage-2 leaf reaches memory that was given back.
    LeafReachesFreedMemory,
    /// A cached translation is used after the page behind it was freed.
    StaleTranslation,
    /// Threads wait for each other, or for something that never comes.
    Deadlock,
    /// A place that may sleep is passed with a spinning lock held, or in an RCU section.
    SleepInAtomic,
    /// A page cache's capacity is set to another while it has one, which the kernel warns of.
    CapacityChanged,
    /// Too much work between two points where the scheduler may run.
    Stall,
    /// A thread panicked: the code under study broke an invariant of its own.
    Panic,
    /// What must hold when all is over does not.
    Lifecycle,
    /// An object is left when all is over.
    Leak,
    /// Two accesses to a word, not both reads, at least one of them plain, and nothing orders them.
    DataRace,
    /// Locks are taken in orders that together make a cycle.
    LockOrder,
    /// A lock, or another of its class, is taken by a thread that holds it.
    LockRecursion,
    /// A grace period is waited for inside a section of its own domain.
    SelfWait,
    /// A lock that is asserted to be held is not.
    NotHeld,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::UseAfterFree,
        Self::DoubleFree,
        Self::BadFree,
        Self::NullDereference,
        Self::WildPointer,
        Self::OutOfBounds,
        Self::CountUnderflow,
        Self::LeafReachesFreedMemory,
        Self::StaleTranslation,
        Self::Deadlock,
        Self::SleepInAtomic,
        Self::CapacityChanged,
        Self::Stall,
        Self::Panic,
        Self::Lifecycle,
        Self::Leak,
        Self::DataRace,
        Self::LockOrder,
        Self::LockRecursion,
        Self::SelfWait,
        Self::NotHeld,
    ];

    /// Whether it decides a verdict. Data races and broken rules, which no execution turned into anything worse,
    /// do not.
    pub fn is_harm(self) -> bool {
        self <= Self::Leak
    }

    /// Its name, as in frames and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::UseAfterFree => "use-after-free",
            Self::DoubleFree => "double-free",
            Self::BadFree => "bad-free",
            Self::NullDereference => "null-dereference",
            Self::WildPointer => "wild-pointer",
            Self::OutOfBounds => "out-of-bounds",
            Self::CountUnderflow => "count-underflow",
            Self::LeafReachesFreedMemory => "leaf-reaches-freed-memory",
            Self::StaleTranslation => "stale-translation",
            Self::Deadlock => "deadlock",
            Self::SleepInAtomic => "sleep-in-atomic",
            Self::CapacityChanged => "capacity-changed",
            Self::Stall => "stall",
            Self::Panic => "panic",
            Self::Lifecycle => "lifecycle",
            Self::Leak => "leak",
            Self::DataRace => "data-race",
            Self::LockOrder => "lock-order",
            Self::LockRecursion => "lock-recursion",
            Self::SelfWait => "self-wait",
            Self::NotHeld => "not-held",
        }
    }

    /// The kind of a violation, by the rule that the program names: a kind's own name is that kind.
    pub fn of_rule(rule: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.is_harm() && kind.name() == rule).unwrap_or(Self::Lifecycle)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What part an action plays in a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The object was allocated.
    Allocated,
    /// It was freed.
    Freed,
    /// It was used, or where the finding shows.
    Used,
    /// A lock or section that is held was taken.
    Took,
    /// A thread waits, or came to wait.
    Waits,
}

impl Role {
    /// What a report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::Freed => "freed",
            Self::Used => "used",
            Self::Took => "took",
            Self::Waits => "waits",
        }
    }
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of what kind.
    pub kind: Kind,
    /// The object, lock or domain, by name.
    pub object: String,
    /// What is wrong, in a sentence.
    pub what: String,
    /// Where it comes from, in the order in which a kernel's report tells it: use first, then where it was
    /// allocated, then where it was freed.
    pub steps: Vec<Step>,
    /// The execution that shows it: the first that did, or a shorter one.
    pub schedule: Schedule,
    /// The number of the first execution that showed it, from 1 up.
    pub first_execution: u64,
    /// How many executions showed it.
    pub executions: u64,
}

impl Finding {
    /// Whether two findings are the same: of one kind, on objects of one name, at the same sites.
    pub fn is_same(&self, other: &Self) -> bool {
        let sites = |finding: &Self| {
            let mut sites: Vec<_> = finding.steps.iter().map(|step| (step.role, step.site)).collect();
            sites.sort_unstable();
            sites
        };
        self.kind == other.kind && self.object == other.object && sites(self) == sites(other)
    }
}

/// An action that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its part.
    pub role: Role,
    /// The name of its thread.
    pub thread: String,
    /// Where in the code under study.
    pub site: &'static str,
    /// The number of the action in the execution, from 0 up; for a thread that waits, that of its last.
    pub action: usize,
}

/// What a checker sees in an execution, in terms of it: cheap, because most of it has been seen before.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Of what kind.
    pub kind: Kind,
    /// The object's name.
    pub object: &'a str,
    /// The action that shows it; the number of actions when it shows at the end.
    pub at: usize,
    /// The actions it is about, each with its part.
    pub steps: &'a [Mark],
}

/// Where checkers tell what they see.
pub trait Sink {
    /// Takes something seen; `what` says what is wrong, in a sentence, if that is to be known.
    fn tell(&mut self, seen: Seen<'_>, what: &dyn Fn() -> String);
}

/// Something seen, to be kept.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Of what kind.
    pub kind: Kind,
    /// The object's name.
    pub object: String,
    /// What is wrong, in a sentence.
    pub what: String,
    /// As [`Seen::at`].
    pub at: usize,
    /// As [`Seen::steps`].
    pub steps: Vec<Mark>,
}

/// Keeps all.
impl Sink for Vec<Observed> {
    fn tell(&mut self, seen: Seen<'_>, what: &dyn Fn() -> String) {
        self.push(Observed::new(seen, what()));
    }
}

/// An action of an execution, or one that a thread was about to take.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its part.
    pub role: Role,
    /// Its thread.
    pub thread: usize,
    /// Where.
    pub site: &'static str,
    /// Its number, or that of its thread's last.
    pub action: usize,
}

impl Mark {
    /// A mark on an action that was taken.
    pub fn on(role: Role, execution: &Execution, action: usize) -> Self {
        let taken = &execution.actions[action];
        Self { role, thread: taken.thread, site: taken.site.name(), action }
    }
}

impl Seen<'_> {
    /// A number that is the same for what is the same finding: of one kind, on objects of one name, at the same
    /// sites. Different findings have different numbers but for a chance of one in 2^64 for each pair.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint(self.kind as u64);
        hash.add(self.object.as_bytes());
        // Which of two sites comes first may depend on the execution.
        let sites = self.steps.iter().map(|step| {
            let mut site = Fingerprint(step.role as u64);
            site.add(step.site.as_bytes());
            site.0
        });
        hash.0.wrapping_add(sites.fold(0, u64::wrapping_add))
    }
}

/// FNV-1a on words of eight bytes, with a finaliser.
struct Fingerprint(u64);

impl Fingerprint {
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        // The last eight bytes, some of them again, and how many there are, say the rest.
        self.mix(match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last),
            None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        });
        self.mix(bytes.len() as u64);
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E3779B97F4A7C15);
        self.0 ^= self.0 >> 29;
    }
}

impl Observed {
    pub(crate) fn new(seen: Seen<'_>, what: String) -> Self {
        let Seen { kind, object, at, steps } = seen;
        Self { kind, object: object.to_owned(), what, at, steps: steps.to_vec() }
    }

    pub(crate) fn told(self, execution: &Execution, schedule: Schedule, number: u64) -> Finding {
        let step = |mark: &Mark| Step {
            role: mark.role,
            thread: execution.threads[mark.thread].clone(),
            site: mark.site,
            action: mark.action,
        };
        Finding {
            kind: self.kind,
            object: self.object,
            what: self.what,
            steps: self.steps.iter().map(step).collect(),
            schedule,
            first_execution: number,
            executions: 1,
        }
    }
}
