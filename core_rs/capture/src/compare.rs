//! Comparing a replayed table with what a machine held: descriptor by descriptor, or attributes of ranges.
//!
//! An entry is *exact* when it is equal, but for the address of a table, which is whatever page the kernel
//! got. It is *equal but for the access flag* when the machine's hardware sets access flags, the capture has
//! it set and the replay has it clear: no operation tells of that. Everything else is a difference.

use runtime::Runtime;
use stage2::{Entry, Kind, Table};

use crate::ptdump::{DumpFlags, Range, parse_ptdump};
use crate::snapshot::SnapshotEntry;

/// What a comparison counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Entries of the capture: descriptors, or stretches of equal attributes.
    pub entries: u64,
    /// Of these, equal.
    pub exact: u64,
    /// Of these, equal but for an access flag that hardware has set.
    pub af_only: u64,
    /// Entries that differ, are missing in the replay, or are there alone.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// An entry that is not as the capture has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The level.
    pub level: i8,
    /// The first guest physical address.
    pub ipa: u64,
    /// What the capture has: a descriptor or attributes; `nothing` where it has no entry.
    pub want: String,
    /// What the replay has.
    pub got: String,
}

/// How to compare.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Hardware may have set access flags.
    pub(crate) hardware_af: bool,
    /// Differences to keep.
    pub(crate) keep: usize,
}

/// The access flag of a leaf.
const AF: u64 = 1 << 10;
/// Every bit that may hold a table's address in some format: 49:12, and 51:50 in 9:8 with LPA2.
const TABLE_ADDRESS: u64 = ((1 << 50) - (1 << 12)) | 0x300;

/// Compares every descriptor. Both sides come depth first, which is the order of (IPA, level).
pub(crate) fn compare_entries<R: Runtime>(
    want: &[SnapshotEntry],
    table: &Table<R>,
    rules: Rules,
) -> Comparison {
    let mut comparison = Comparison { entries: want.len() as u64, ..Comparison::default() };
    let mut want = want.iter().peekable();
    let nothing = || "nothing".to_owned();
    let hex = |desc: u64| format!("{desc:#018x}");
    table.for_each_entry(|got: Entry| {
        let key = (got.ipa, got.level);
        while let Some(missed) = want.next_if(|want| (want.ipa, want.level) < key) {
            comparison.differ(missed.level, missed.ipa, rules, || (hex(missed.desc), nothing()));
        }
        match want.next_if(|want| (want.ipa, want.level) == key) {
            None => comparison.differ(got.level, got.ipa, rules, || (nothing(), hex(got.desc))),
            Some(want) => match want.desc ^ got.desc {
                0 => comparison.exact += 1,
                bits if got.kind() == Kind::Table
                    && want.kind() == Kind::Table
                    && bits & !TABLE_ADDRESS == 0 =>
                {
                    comparison.exact += 1;
                }
                AF if rules.hardware_af && want.desc & AF != 0 => comparison.af_only += 1,
                _ => comparison.differ(got.level, got.ipa, rules, || (hex(want.desc), hex(got.desc))),
            },
        }
    });
    for missed in want {
        comparison.differ(missed.level, missed.ipa, rules, || (hex(missed.desc), nothing()));
    }
    comparison
}

/// Compares level and attributes over the whole address space, in stretches on which both are constant.
pub(crate) fn compare_attributes<R: Runtime>(want: &[Range], table: &Table<R>, rules: Rules) -> Comparison {
    let text = table.dump();
    let dumps = parse_ptdump(text.as_bytes(), "replay").expect("a table's dump is one");
    let got = &dumps[0].ranges;
    let mut comparison = Comparison::default();
    let show = |range: &Range| format!("level {} {}", range.level, flags(range.flags));
    let (mut wants, mut gots, mut ipa) = (want.iter().peekable(), got.iter().peekable(), 0);
    while let (Some(&want), Some(&got)) = (wants.peek(), gots.peek()) {
        comparison.entries += 1;
        let differing = want.flags ^ got.flags;
        if want.level != got.level || !(differing - DumpFlags::AF).is_empty() {
            comparison.differ(want.level, ipa, rules, || (show(want), show(got)));
        } else if differing.is_empty() {
            comparison.exact += 1;
        } else if rules.hardware_af && want.flags.contains(DumpFlags::AF) {
            comparison.af_only += 1;
        } else {
            comparison.differ(want.level, ipa, rules, || (show(want), show(got)));
        }
        ipa = want.end.min(got.end);
        wants.next_if(|range| range.end == ipa);
        gots.next_if(|range| range.end == ipa);
    }
    for (level, want, got) in wants
        .map(|range| (range.level, show(range), "outside the IPA space".to_owned()))
        .chain(gots.map(|range| (range.level, "outside the IPA space".to_owned(), show(range))))
    {
        comparison.entries += 1;
        comparison.differ(level, ipa, rules, || (want, got));
    }
    comparison
}

fn flags(flags: DumpFlags) -> String {
    if flags.is_empty() {
        "empty".to_owned()
    } else {
        flags.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }
}

impl Comparison {
    fn differ(&mut self, level: i8, ipa: u64, rules: Rules, values: impl FnOnce() -> (String, String)) {
        self.differing += 1;
        if self.differences.len() < rules.keep {
            let (want, got) = values();
            self.differences.push(Difference { level, ipa, want, got });
        }
    }
}
