//! The stage-2 debugfs dump, `stage2_page_tables` (`CONFIG_PTDUMP_STAGE2_DEBUGFS`): levels and attributes
//! of ranges, without addresses.
//!
//! Guarantee: the ranges of a dump begin at 0 and follow each other without a gap.

use bitflags::bitflags;

use crate::error::{Blame, CaptureError, quote};
use crate::fields::{decimal, hex};
use crate::text::{Line, Text};

/// One dump of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// The name that the recorder's `### name ...` line before it gives; none for the kernel's text alone.
    pub name: Option<String>,
    /// The line of its header, `---[ Guest IPA ]---`.
    pub line: usize,
    /// Its ranges, in the order of addresses.
    pub ranges: Vec<Range>,
}

/// A range of a [`Dump`]: neighbouring entries of one level with equal attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First guest physical address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// The level of its entries.
    pub level: i8,
    /// Their attributes; empty where nothing is mapped.
    pub flags: DumpFlags,
}

bitflags! {
    /// What a dump says about a range.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DumpFlags: u16 {
        /// `F`: the entries are not zero, and not valid.
        const INVALID = 1;
        /// `R`
        const R = 1 << 1;
        /// `W`
        const W = 1 << 2;
        /// `px`: EL1 may execute; absent in `PXN`.
        const PX = 1 << 3;
        /// `ux`: EL0 may execute; absent in `UXN`.
        const UX = 1 << 4;
        /// `AF`
        const AF = 1 << 5;
        /// `BLK`
        const BLOCK = 1 << 6;
        /// One of the four execute patterns was there: the range is not empty.
        const MAPPED = 1 << 7;
    }
}

const HEADER: &str = "---[ Guest IPA ]---";

/// The least size of a guest's physical address space.
const LEAST_END: u64 = 1 << 32;

/// Reads the dumps in `bytes`, gzip or plain: the kernel's text alone, or several, each after a line
/// `### name ...`. `name` stands in the messages.
///
/// ```
/// let text = b"---[ Guest IPA ]---
/// 0x0000000000000000-0x0000000040000000           1G 1
/// 0x0000000040000000-0x0000000080000000           1G 1   R W PXNUXN AF BLK
/// 0x0000000080000000-0x0000010000000000        1022G 1
/// ";
/// let dumps = capture::parse_ptdump(text, "stage2_page_tables")?;
/// assert!(dumps[0].ranges[1].flags.contains(capture::DumpFlags::BLOCK | capture::DumpFlags::W));
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_ptdump(bytes: &[u8], name: &str) -> Result<Vec<Dump>, CaptureError> {
    const EXPECTED: &str = "the kernel's stage2_page_tables, which begins ---[ Guest IPA ]---";
    let blame = Blame { file: name, what: "a stage-2 dump" };
    let text = Text::read(bytes, blame)?;
    let mut dumps: Vec<Dump> = Vec::new();
    let mut next_name: Option<(String, usize)> = None;
    let mut last = 0;
    for line in text.lines() {
        last = line.number;
        let content = line.text.trim_end();
        if let Some(title) = content.strip_prefix("### ") {
            if let Some((name, line)) = next_name {
                return Err(blame.cut(last, format!("no dump follows ### {name} of line {line}"), HEADER));
            }
            next_name = title.split_whitespace().next().map(|name| (name.to_owned(), last));
        } else if content == HEADER {
            dumps.last().map_or(Ok(()), |dump| complete(dump, last, blame))?;
            let name = next_name.take().map(|(name, _)| name);
            dumps.push(Dump { name, line: last, ranges: Vec::new() });
        } else if let Some(dump) = dumps.last_mut().filter(|_| next_name.is_none()) {
            if !content.is_empty() {
                range(line, content, dump, blame)?;
            }
        } else if !content.is_empty() {
            return Err(if last == 1 {
                blame.not_this(last, format!("it begins with {}", quote(content)), EXPECTED)
            } else {
                blame.format(last, format!("{} comes before a header", quote(content)), HEADER)
            });
        }
    }
    match (dumps.last(), next_name) {
        (_, Some((name, line))) => {
            Err(blame.cut(last, format!("no dump follows ### {name} of line {line}"), HEADER))
        }
        (None, None) => Err(blame.not_this(last, "it holds no dump", EXPECTED)),
        (Some(dump), None) => complete(dump, last, blame).map(|()| dumps),
    }
}

fn complete(dump: &Dump, line: usize, blame: Blame<'_>) -> Result<(), CaptureError> {
    let end = dump.ranges.last().map_or(0, |range| range.end);
    if end.is_power_of_two() && end >= LEAST_END {
        return Ok(());
    }
    let cause = format!("the dump of line {} ends at {end:#x}", dump.line);
    Err(blame.cut(line, cause, "ranges up to the end of the IPA space, a power of two"))
}

fn range(line: Line<'_>, content: &str, dump: &mut Dump, blame: Blame<'_>) -> Result<(), CaptureError> {
    const EXPECTED: &str = "START-END SIZE LEVEL [F] [R] [W] [px ux|PXNux|PXNUXN|px UXN] [AF] [BLK]";
    let read = read_range(content).map_err(|cause| {
        let found = format!("{cause} in {}", quote(content));
        if line.ended {
            blame.format(line.number, found, EXPECTED)
        } else {
            blame.cut(line.number, format!("the last line breaks off, {found}"), EXPECTED)
        }
    })?;
    let due = dump.ranges.last().map_or(0, |range| range.end);
    if read.start != due {
        let cause = format!("the range starts at {:#x}", read.start);
        return Err(blame.reordered(line.number, cause, format!("{due:#x}, where the one before it ends")));
    }
    dump.ranges.push(read);
    Ok(())
}

fn read_range(text: &str) -> Result<Range, &'static str> {
    let mut words = text.split_ascii_whitespace();
    let mut word = |missing| words.next().ok_or(missing);
    let bounds = word("no addresses")?.split_once('-');
    let bounds = bounds.and_then(|(start, end)| Some((hex(start)?, hex(end)?)));
    let (start, end) = bounds.filter(|(start, end)| start < end).ok_or("no range of addresses")?;
    let size = size_bytes(word("no size")?).ok_or("no size with its unit")?;
    if size != end - start {
        return Err("a size that is not that of the range");
    }
    let level = decimal(word("no level")?).filter(|&level| level <= 3).ok_or("no level from 0 to 3")? as i8;
    let flags = words.try_fold(DumpFlags::empty(), |flags, word| {
        let (added, after) = match word {
            "F" => (DumpFlags::INVALID, DumpFlags::empty()),
            "R" => (DumpFlags::R, DumpFlags::INVALID),
            "W" => (DumpFlags::W, DumpFlags::INVALID | DumpFlags::R),
            "px" => (DumpFlags::PX | DumpFlags::MAPPED, BEFORE_EXECUTE),
            "PXNux" => (DumpFlags::UX | DumpFlags::MAPPED, BEFORE_EXECUTE),
            "PXNUXN" => (DumpFlags::MAPPED, BEFORE_EXECUTE),
            // The second half of `px ux` and `px UXN`.
            "ux" if flags.contains(DumpFlags::PX) => (DumpFlags::UX, BEFORE_EXECUTE | PX),
            "UXN" if flags.contains(DumpFlags::PX) => return Ok(flags),
            "AF" => (DumpFlags::AF, BEFORE_EXECUTE | EXECUTE),
            "BLK" => (DumpFlags::BLOCK, BEFORE_EXECUTE | EXECUTE | DumpFlags::AF),
            _ => return Err("an attribute that no dump has"),
        };
        if after.contains(flags) { Ok(flags | added) } else { Err("attributes out of their order") }
    })?;
    if !flags.is_empty() && !flags.contains(DumpFlags::MAPPED) {
        return Err("attributes, but none for execution");
    }
    Ok(Range { start, end, level, flags })
}

const BEFORE_EXECUTE: DumpFlags = DumpFlags::INVALID.union(DumpFlags::R).union(DumpFlags::W);
const PX: DumpFlags = DumpFlags::PX.union(DumpFlags::MAPPED);
const EXECUTE: DumpFlags = PX.union(DumpFlags::UX);

/// `32M`: a number and one of K, M, G, T, P, E.
fn size_bytes(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let power = "KMGTPE".find(unit)? as u32 + 1;
    decimal(text.strip_suffix(unit)?)?.checked_mul(1_u64.checked_shl(10 * power)?)
}
