//! The stage-2 translation table of KVM/arm64, visited as the kernel visits it.
//!
//! A [`Table`] is a real multi-level table: 64-bit descriptors in table pages, bit for bit as Linux writes
//! them, with reference counts, break-before-make and the maintenance that goes with it. It is generic over
//! the [`runtime::Runtime`] that carries out each access, so the table that is measured on real threads is
//! the table whose interleavings are explored.
//!
//! ```
//! use runtime::native::Native;
//! use stage2::{Config, Env, Event, EventLog, Prot, Table, Tlbi, Walk};
//!
//! let table = Table::<Native>::new(Config::default())?;
//! let mut vcpu = Env::new(EventLog::default());
//! let read_write = Prot::R | Prot::W;
//!
//! // A 2 MiB block, write-protected for dirty logging, then written to one page at a time.
//! table.map(&mut vcpu, Walk::Shared, 0x4000_0000, 0x20_0000, 0x8000_0000, read_write).unwrap();
//! table.wrprotect(&mut vcpu, 0x4000_0000, 0x20_0000).unwrap();
//! table.map(&mut vcpu, Walk::Shared, 0x4000_3000, 0x1000, 0x8000_3000, read_write).unwrap();
//!
//! assert_eq!(table.table_stats().pages, 1); // the rest of the block faults back lazily
//! assert_eq!(vcpu.log.events, [Event::Tlbi(Tlbi::Ipa { ipa: 0x4000_3000, level: Some(2) })]);
//!
//! table.destroy(&mut vcpu);
//! assert_eq!(table.live_pages(), 0);
//! # Ok::<(), stage2::ConfigError>(())
//! ```
//!
//! What is guaranteed: results, return codes, counts and maintenance are upstream's (Linux 7.3), odd input
//! included. What is not: nothing here checks that a lock is held.

mod arena;
mod columns;
mod config;
mod descriptor;
mod env;
mod errno;
mod fast;
mod geometry;
mod inspect;
mod maintenance;
mod many;
mod memcache;
mod ops;
mod prot;
mod ptdump;
mod script;
mod table;
mod walk;

pub use arena::{Harm, PageId};
pub use columns::{Bits, Leaves, Names};
pub use config::{Config, ConfigError, Granule, WalkerKind};
pub use descriptor::{Encoding, access, execute, is_table, is_valid};
pub use env::Env;
pub use errno::Errno;
pub use geometry::{Geometry, LAST_LEVEL};
pub use inspect::{Entry, Kind, Leaf, TableStats};
pub use maintenance::{Event, EventCounts, EventLog, Maintenance, NoLog, Tlbi};
pub use many::{Found, Stopped};
pub use memcache::MemoryCache;
pub use prot::Prot;
pub use ptdump::DumpRange;
pub use script::{ScriptError, run_ops, run_ops_until};
pub use table::Table;
pub use walk::Walk;
