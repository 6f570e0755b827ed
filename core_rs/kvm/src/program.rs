//! A case: a scenario under a variant and a strategy, ready to be run on either runtime.
//!
//! The end of an execution is judged after every task that is still there has exited (one after the other,
//! outside the run): then nothing may be left, whatever the tasks did. Before that, no leaf may reach a guest
//! page that was freed.

use std::str::FromStr;
use std::sync::{Arc, Barrier};

use runtime::Runtime;
use runtime::native::Native;
use runtime::scheduled::{Instance, NamedThread, ObjectInfo, Program, Scheduled, Violation};
use stage2::WalkerKind;

use crate::error::Error;
use crate::guest::Guest;
use crate::heap::Harm;
use crate::scenario::Scenario;
use crate::strategy::Strategy;
use crate::variant::{Arch, Variant};
use crate::word_names::{pointee, word_name};
use crate::world::World;

/// A scenario under a variant and a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    scenario: Scenario,
    variant: Variant,
    strategy: Strategy,
}

/// What came of a run on real threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong with memory, each once, in the order of its first time.
    pub harm: Vec<Harm>,
    /// What was wrong at the end.
    pub violations: Vec<Violation>,
}

impl Case {
    /// The case, if the strategy applies to the variant and the variant has what the scenario sets up.
    pub fn new(scenario: Scenario, variant: Variant, strategy: Strategy) -> Result<Self, Error> {
        strategy.applies(&variant).map_err(|reason| Error::NotApplicable {
            strategy: strategy.name.clone(),
            variant: variant.name.to_owned(),
            reason,
        })?;
        World::<Native>::fits(&scenario, &variant)?;
        Ok(Self { scenario, variant, strategy })
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The variant.
    pub fn variant(&self) -> &Variant {
        &self.variant
    }

    /// The strategy.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// How the table is walked: the tables of loongarch and mips only as their kernels do.
    pub fn walker(&self) -> WalkerKind {
        match self.variant.arch {
            Arch::Arm64 | Arch::Riscv => self.scenario.set_up.walker,
            Arch::Loongarch | Arch::Mips => WalkerKind::Upstream,
        }
    }

    /// The table's shape, in words.
    pub fn geometry(&self) -> String {
        let geometry = self.scenario.set_up.shape.config().geometry().expect("a shape has a geometry");
        let entries = geometry.entries();
        match self.variant.arch {
            Arch::Arm64 | Arch::Riscv => format!(
                "{}K pages, {}-bit IPA, levels {} to 3, {entries} entries a table",
                geometry.page_size() >> 10,
                geometry.ipa_bits(),
                geometry.start_level(),
            ),
            Arch::Loongarch | Arch::Mips => format!("a root and a level below it, {entries} entries a table"),
        }
    }

    /// Runs each task on a thread of its own; harm is recorded, not suffered. A deadlock is suffered.
    pub fn run_on_threads(&self) -> Outcome {
        let world = self.world::<Native>();
        let tasks = self.scenario.tasks.len();
        let start = Barrier::new(tasks); // as the race's reproducer has it
        std::thread::scope(|scope| {
            for task in 0..tasks {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    start.wait();
                    world.run_task(task);
                });
            }
        });
        Native::<runtime::native::Off>::rcu_barrier(runtime::site!("end:rcu_barrier"));
        let violations = judge(&world);
        Outcome { harm: world.harm(), violations }
    }

    fn world<R: Runtime>(&self) -> Arc<World<R>> {
        let guest = Guest::small(&self.scenario.set_up);
        Arc::new(World::new(&self.scenario, guest, self.variant, self.strategy.clone()))
    }
}

impl FromStr for Case {
    type Err = Error;

    /// Reads a case's name: scenario, variant and strategy, each by its name or its text.
    ///
    /// ```
    /// use kvm::Case;
    /// use runtime::scheduled::Program;
    ///
    /// let text = "setup cache=filled; task T1: exit; task T2 fds=vm: close vm arm64-7.3 hold=arch helpers=assert";
    /// let case: Case = text.parse()?;
    /// assert_eq!(case, case.name().parse()?);
    /// # Ok::<(), kvm::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut variants =
            text.split_whitespace().filter_map(|word| Some((word, word.parse::<Variant>().ok()?)));
        let Some((name, variant)) = variants.next_back() else {
            return Err(Error::Case { value: text.to_owned(), variants: Variant::names() });
        };
        let at = name.as_ptr().addr() - text.as_ptr().addr();
        Self::new(text[..at].trim().parse()?, variant, text[at + name.len()..].trim().parse()?)
    }
}

/// How a VM's locks nest, as the kernel documents it.
const LOCK_ORDER: [(&str, &str); 5] = [
    ("kvm->lock", "vcpu->mutex"),
    ("vcpu->mutex", "kvm->slots_lock"),
    ("kvm->lock", "kvm->srcu"),
    ("vcpu->mutex", "kvm->srcu"),
    ("kvm->slots_lock", "kvm->srcu"),
];

impl Program for Case {
    fn name(&self) -> String {
        format!("{} {} {}", self.scenario.name, self.variant, self.strategy)
    }

    /// What is left at the end is judged by `end`, after every task has gone.
    fn lives_on(&self, _object: &ObjectInfo) -> bool {
        true
    }

    fn lock_order(&self) -> &'static [(&'static str, &'static str)] {
        &LOCK_ORDER
    }

    fn word_name(&self, object: &ObjectInfo, word: usize) -> Option<&'static str> {
        word_name(&self.variant, object.name, word)
    }

    fn pointee(&self, object: &ObjectInfo, word: usize, value: u64) -> Option<&'static str> {
        pointee(&self.variant, object.name, word, value)
    }

    fn start(&self) -> Instance {
        let world = self.world::<Scheduled>();
        let thread = |(task, spec): (usize, &crate::scenario::Task)| -> NamedThread {
            let world = Arc::clone(&world);
            (spec.name.clone(), Box::new(move || world.run_task(task)))
        };
        let threads = self.scenario.tasks.iter().enumerate().map(thread).collect();
        Instance { threads, end: Box::new(move || judge(&world)) }
    }
}

/// Looks at the end of an execution.
pub(crate) fn judge<R: Runtime>(world: &World<R>) -> Vec<Violation> {
    let reached = world.reached_after_free().into_iter().map(|(vm, page)| Violation {
        rule: "leaf-reaches-freed-memory",
        object: String::from("guest page"),
        what: format!("VM {} still maps guest page {page}, which was freed", vm + 1),
    });
    let mut violations: Vec<_> = reached.collect();
    world.end_all();
    violations.extend(world.left().into_iter().map(|(object, what)| Violation {
        rule: "leak",
        object: object.to_owned(),
        what,
    }));
    violations
}
