//! Every interleaving of a program, what is wrong in it, and a verdict that says what it holds for.
//!
//! A [`Program`](runtime::scheduled::Program) is threads over a set-up, written against the scheduled runtime.
//! [`explore`] executes it again and again, each time in an order that a [`search`] chooses, lets [`checkers`]
//! look at each execution, and answers a [`Verdict`]: a proof that nothing does harm, a bug with a schedule that
//! shows it, or that the budget ended before either. A bug is [`minimise`]d, told as a [`ladder`] (one column a
//! thread, time downwards) and [`replay`]ed from its schedule's text.
//!
//! What is guaranteed: a proof holds for every interleaving of the program's actions within the bounds that the
//! verdict names, under sequential consistency. What is not: weaker memory orders, and what the program keeps
//! from the runtime.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use explore::{Answer, Settings, explore, ladder, replay};
//! use runtime::scheduled::{Instance, Program, Scheduled};
//! use runtime::{Access, Object, Runtime, Word, site};
//!
//! /// Two threads that free an array each, if they see it.
//! struct Flush;
//!
//! impl Program for Flush {
//!     fn name(&self) -> String {
//!         "flush".to_owned()
//!     }
//!
//!     fn start(&self) -> Instance {
//!         let array = || Object { name: "objects", index: 0, words: &[] };
//!         Scheduled::allocated(array(), site!("set up"));
//!         let pointer = std::rc::Rc::new(Word::new(1));
//!         let flush = |name: &str| {
//!             let pointer = pointer.clone();
//!             let work = move || {
//!                 if Scheduled::load(&pointer, Access::Plain, site!("free_cache:objects")) != 0 {
//!                     Scheduled::freed(array(), site!("free_cache:kvfree"));
//!                     Scheduled::store(&pointer, 0, Access::Plain, site!("free_cache:clear"));
//!                 }
//!             };
//!             (name.to_owned(), Box::new(work) as Box<dyn FnOnce()>)
//!         };
//!         Instance { threads: vec![flush("T1"), flush("T2")], end: Box::new(Vec::new) }
//!     }
//! }
//!
//! let settings = Settings::default();
//! let verdict = explore(&Flush, &settings, &AtomicBool::new(false), &mut |_| ())?;
//! assert_eq!(verdict.answer, Answer::Bug);
//! let bug = verdict.bug().unwrap();
//! assert_eq!((bug.kind.name(), &*bug.object), ("double-free", "objects"));
//! assert_eq!(bug.schedule.switches(), 1);
//! let again = replay(&Flush, &bug.schedule.to_string().parse()?, &settings.checks)?;
//! assert!(again.shows(bug));
//! println!("{}", ladder(&Flush, &again.execution, bug, None, false));
//! # Ok::<(), explore::Error>(())
//! ```

mod bounds;
mod causality;
pub mod checkers;
mod error;
mod explorer;
mod finding;
mod ladder;
mod minimise;
mod record;
mod replay;
mod schedule;
pub mod search;
mod settings;
mod verdict;

/// Threads of a program at most, the one that runs RCU's work included.
pub const MAX_THREADS: usize = 64;

pub use bounds::Bounds;
pub use causality::Causality;
pub use checkers::Checks;
pub use error::Error;
pub use explorer::{Progress, explore, explore_by};
pub use finding::{Finding, Kind, Mark, Observed, Role, Seen, Sink, Step};
pub use ladder::{Column, Line, columns, ladder, lines};
pub use minimise::minimise;
pub use record::{Record, Showed};
pub use replay::{Replayed, replay};
pub use schedule::Schedule;
pub use settings::{How, Settings};
pub use verdict::{Answer, Counts, Exhausted, Scope, Verdict};
