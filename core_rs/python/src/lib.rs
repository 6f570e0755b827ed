//! The Python extension `pyworkbench._core`: registers, and does nothing else.
//!
//! A file a topic. Every call into the core goes through [`enter`], which lets other Python threads run,
//! turns a panic into `CorePanic`, and lets Ctrl-C stop what takes long. The docstrings that users read
//! are in the Python package, which wraps what is registered here; the boundary itself is described in
//! `pyworkbench/_core.pyi`.

mod address;
mod arrays;
mod calls;
mod capture;
mod console;
mod dicts;
mod enter;
mod errors;
mod explore;
mod frames;
mod history;
mod leaf;
mod lock_stat;
mod measure;
mod overlap;
mod pieces;
mod prot;
mod provenance;
mod script;
mod sources;
mod table;

use pyo3::pymodule;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::capture::replay;
    #[pymodule_export]
    use crate::console::{compare_chains, kasan};
    #[pymodule_export]
    use crate::enter::panic_in_core;
    #[pymodule_export]
    use crate::explore::{
        does_not_apply, explore_case, first_harm, named_cases, orderings, replay_schedule, subtrees,
    };
    #[pymodule_export]
    use crate::lock_stat::read_lock_stat;
    #[pymodule_export]
    use crate::measure::{check_point, check_points, measure, measurement_schema};
    #[pymodule_export]
    use crate::overlap::overlaps;
    #[pymodule_export]
    use crate::provenance::{build_id, build_profile, source_id};
    #[pymodule_export]
    use crate::script::run_ops;
    #[pymodule_export]
    use crate::table::Stage2;

    #[pymodule_init]
    fn init() {
        crate::enter::keep_core_panics_quiet();
    }
}
