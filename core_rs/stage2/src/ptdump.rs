//! The stage-2 debugfs dump (`stage2_page_tables`, `CONFIG_PTDUMP_STAGE2_DEBUGFS`): neighbouring entries of
//! one level with equal attributes are one line.

use std::fmt::{self, Write as _};

use runtime::Runtime;

use crate::descriptor::{AF, S2AP_R, S2AP_W, TYPE, VALID, XN, execute};
use crate::inspect::Kind;
use crate::table::Table;

/// What the dump distinguishes; the rest of a descriptor does not show.
const SHOWN: u64 = VALID | TYPE | S2AP_R | S2AP_W | XN | AF;

/// A range of the dump: neighbouring entries of one level with equal attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpRange {
    /// First address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Level of the entries.
    pub level: i8,
    /// The bits that show, 0 for an empty range.
    shown: u64,
}

impl DumpRange {
    /// The attributes as the dump prints them, empty for an empty range: `F` if invalid, `R`, `W`, execute
    /// at EL1 and EL0, `AF`, `BLK`, in columns of fixed width.
    pub fn flags(&self) -> String {
        if self.shown == 0 {
            return String::new();
        }
        let flag = |bit: u64, name: &'static str, absent: &'static str| {
            if self.shown & bit != 0 { name } else { absent }
        };
        let xn = match execute(self.shown) {
            (true, true) => "px ux ",
            (true, false) => "px UXN",
            (false, true) => "PXNux ",
            (false, false) => "PXNUXN",
        };
        format!(
            " {} {} {} {xn} {} {}",
            flag(VALID, " ", "F"),
            flag(S2AP_R, "R", " "),
            flag(S2AP_W, "W", " "),
            flag(AF, "AF", "  "),
            if self.shown & (VALID | TYPE) == VALID { "BLK" } else { "   " },
        )
    }
}

impl fmt::Display for DumpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut size, mut units) = ((self.end - self.start) >> 10, "KMGTPE".chars());
        let mut unit = units.next();
        while size % 1024 == 0 && size > 0 {
            size /= 1024;
            unit = units.next();
        }
        let unit = unit.unwrap_or('E');
        let flags = self.flags();
        write!(f, "0x{:016x}-0x{:016x}   {size:9}{unit} {}{flags}", self.start, self.end, self.level)
    }
}

impl<R: Runtime> Table<R> {
    /// The ranges of the dump, in the order of addresses; none after [`Table::destroy`].
    pub fn dump_ranges(&self) -> Vec<DumpRange> {
        let mut ranges: Vec<DumpRange> = Vec::new();
        self.for_each_slot(|entry| {
            if entry.kind() == Kind::Table {
                return;
            }
            let shown = entry.desc & SHOWN;
            let end = entry.ipa + self.geometry().granule_size(entry.level);
            match ranges.last_mut() {
                Some(last) if (last.level, last.shown) == (entry.level, shown) => last.end = end,
                _ => ranges.push(DumpRange { start: entry.ipa, end, level: entry.level, shown }),
            }
        });
        ranges
    }

    /// The text of `stage2_page_tables`.
    pub fn dump(&self) -> String {
        let mut text = String::from("---[ Guest IPA ]---\n");
        for range in self.dump_ranges() {
            let _ = writeln!(text, "{range}"); // writing to a String does not fail
        }
        text
    }
}
