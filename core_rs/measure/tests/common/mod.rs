//! Points and measurements that several tests make.

use std::sync::atomic::AtomicBool;

use measure::{Measurement, Plan, Point, measure};

/// A point of 8 MiB, 2048 pages, with what `fields` say: `name: value` pairs of JSON.
#[allow(dead_code)]
pub(crate) fn point(fields: &str) -> Point {
    let comma = if fields.is_empty() { "" } else { ", " };
    Point::from_json(&format!("{{\"guest_bytes\": 8388608{comma}{fields}}}")).unwrap()
}

#[allow(dead_code)]
pub(crate) fn plan(fields: &str) -> Plan {
    point(fields).check().unwrap_or_else(|error| panic!("{fields}: {error}"))
}

#[allow(dead_code)] // not every test file uses all
pub(crate) fn measured(fields: &str) -> Measurement {
    measure(&plan(fields), 0, &AtomicBool::new(false)).unwrap_or_else(|error| panic!("{fields}: {error}"))
}
