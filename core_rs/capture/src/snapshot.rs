//! Tables that were read out of a machine's memory while it was paused: `s2.*.jsonl.gz`.
//!
//! Guarantee: what comes out could have been read from memory. Every descriptor lies where the table that
//! links it says, in depth-first order, and is what the file calls it.

use stage2::{Granule, Kind, LAST_LEVEL, is_table, is_valid};

use crate::error::{Blame, CaptureError};
use crate::fields::{Field, FieldError, Fields, Hex, Value};
use crate::packed::read_line;
use crate::text::Text;
use crate::vtcr::Vtcr;

/// One table at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name; the mark `SNAPSHOT name` in the trace says when it was taken.
    pub name: String,
    /// The line of its header.
    pub line: usize,
    /// The table (`struct kvm_pgtable`), a kernel virtual address.
    pub pgt: u64,
    /// Physical address of the root.
    pub pgd_phys: u64,
    /// `VTCR_EL2`.
    pub vtcr: u64,
    /// Why the recorder could not read the table, where it says so: there is nothing to compare then.
    pub failed: Option<String>,
    /// Every non-zero descriptor, depth first.
    pub entries: Vec<SnapshotEntry>,
}

/// A descriptor of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The first guest physical address that it maps.
    pub ipa: u64,
    /// The raw descriptor.
    pub desc: u64,
    /// Its level.
    pub level: i8,
}

impl SnapshotEntry {
    /// What the descriptor is.
    pub fn kind(&self) -> Kind {
        match (is_valid(self.desc), is_table(self.desc, self.level)) {
            (false, _) => Kind::Invalid,
            (_, true) => Kind::Table,
            _ if self.level == LAST_LEVEL => Kind::Page,
            _ => Kind::Block,
        }
    }
}

/// Reads the snapshots in `bytes`, gzip or plain; `name` stands in the messages.
///
/// Errors: [`CaptureError`] with the line and what is wrong with it; also when a snapshot holds more or fewer
/// descriptors than its header counts.
///
/// ```
/// let text = br#"{"snapshot":"S1.a","pgd_phys":"0x43518000","vtcr":"0x802d3558","pgt":"0xfff0","entries":1}
/// {"l":1,"ipa":"0x40000000","desc":"0x00600000800006d9","at":"0x43518008","k":"block"}
/// "#;
/// let snapshots = capture::parse_snapshots(text, "s2.S1.jsonl")?;
/// assert_eq!(snapshots[0].entries[0].ipa, 0x4000_0000);
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_snapshots(bytes: &[u8], name: &str) -> Result<Vec<Snapshot>, CaptureError> {
    let blame = Blame { file: name, what: "a file of stage-2 snapshots" };
    let text = Text::read(bytes, blame)?;
    let mut snapshots = Vec::new();
    let mut open: Option<Open> = None;
    let mut fields = Fields::new();
    let mut last = 0;
    for line in text.lines() {
        last = line.number;
        read_line(line, &mut fields, blame)?;
        if fields.find("snapshot").is_some() {
            if let Some(open) = open.take() {
                snapshots.push(open.finish(last, blame)?);
            }
            let header = Open::header(&mut fields, last);
            open = Some(header.map_err(|error| blame.format(last, error.to_string(), error.expected()))?);
            continue;
        }
        let Some(open) = &mut open else {
            let cause = "a descriptor comes before any header";
            return Err(blame.format(last, cause, "first a line with `snapshot`, `pgd_phys`, `vtcr`, `pgt`"));
        };
        let row = Row::read(&mut fields);
        open.push(
            row.map_err(|error| blame.format(last, error.to_string(), error.expected()))?,
            last,
            blame,
        )?;
    }
    snapshots.extend(open.map(|open| open.finish(last, blame)).transpose()?);
    Ok(snapshots)
}

/// A line of a snapshot, before it is checked against its neighbours.
#[derive(Clone, Copy)]
struct Row {
    entry: SnapshotEntry,
    at: u64,
    kind: Kind,
}

impl Row {
    #[inline]
    fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let level = fields.number("l")?;
        if level > LAST_LEVEL as u64 {
            return Err(FieldError::of("l", &level.to_string(), "a level from 0 to 3"));
        }
        let ipa = Hex::take(fields, "ipa")?;
        let desc = Hex::take(fields, "desc")?;
        let at = Hex::take(fields, "at")?;
        let kind = fields.parse("k", "table, block, page or invalid", |kind| match kind {
            "table" => Some(Kind::Table),
            "block" => Some(Kind::Block),
            "page" => Some(Kind::Page),
            "invalid" => Some(Kind::Invalid),
            _ => None,
        })?;
        Ok(Self { entry: SnapshotEntry { ipa, desc, level: level as i8 }, at, kind })
    }
}

/// A snapshot whose rows are being read.
struct Open {
    snapshot: Snapshot,
    /// Rows that the header counts.
    counted: u64,
    granule: Granule,
    start_level: i8,
    /// The table page that rows of each level must lie in.
    pages: Pages,
}

/// By level: where the page lies, and the first address that it maps.
type Pages = [Option<(u64, u64)>; LAST_LEVEL as usize + 1];

const NO_PAGES: Pages = [None; LAST_LEVEL as usize + 1];

impl Open {
    fn header(fields: &mut Fields<'_>, line: usize) -> Result<Self, FieldError> {
        let name = fields.text("snapshot")?.to_owned();
        let unread = Snapshot { name, line, pgt: 0, pgd_phys: 0, vtcr: 0, failed: None, entries: Vec::new() };
        if let Some(Value::Text(error)) = fields.find("error") {
            let snapshot = Snapshot { failed: Some(error.to_owned()), ..unread };
            return Ok(Self { snapshot, counted: 0, granule: Granule::K4, start_level: 0, pages: NO_PAGES });
        }
        let (pgd_phys, register) = (Hex::take(fields, "pgd_phys")?, Hex::take(fields, "vtcr")?);
        let vtcr = Vtcr::read(register);
        let vtcr = vtcr.filter(|vtcr| vtcr.start_level >= 0).ok_or_else(|| {
            FieldError::of("vtcr", &format!("{register:#x}"), "a register with a granule and a start level")
        })?;
        let mut pages = NO_PAGES;
        pages[vtcr.start_level as usize] = Some((pgd_phys, 0));
        let pgt = Hex::take(fields, "pgt")?;
        let counted = fields.number("entries")?;
        let entries = Vec::with_capacity(counted.min(1 << 16) as usize);
        let snapshot = Snapshot { pgt, pgd_phys, vtcr: register, entries, ..unread };
        Ok(Self { snapshot, counted, granule: vtcr.granule, start_level: vtcr.start_level, pages })
    }

    fn push(&mut self, row: Row, line: usize, blame: Blame<'_>) -> Result<(), CaptureError> {
        let Row { entry, at, kind } = row;
        if let Some(last) = self.snapshot.entries.last()
            && (entry.ipa, entry.level) <= (last.ipa, last.level)
        {
            let cause = format!(
                "level {} of IPA {:#x} comes after level {} of {:#x}",
                entry.level, entry.ipa, last.level, last.ipa
            );
            return Err(blame.reordered(line, cause, "descriptors in depth-first order"));
        }
        if entry.kind() != kind || entry.desc == 0 {
            let cause = format!("descriptor {:#x} of level {} is called {kind:?}", entry.desc, entry.level);
            return Err(blame.format(
                line,
                cause,
                format!("a non-zero descriptor, and its kind {:?}", entry.kind()),
            ));
        }
        let place = self.place_of(entry).filter(|place| (place ^ at) & LOW_ADDRESS == 0);
        if place.is_none() {
            let cause = format!(
                "the descriptor of level {} and IPA {:#x} cannot lie at {at:#x}",
                entry.level, entry.ipa
            );
            let expected = match self.place_of(entry) {
                Some(place) => format!("{place:#x}, by the table descriptor above it"),
                None => "a table descriptor above it".to_owned(),
            };
            return Err(blame.format(line, cause, expected));
        }
        if kind == Kind::Table {
            let page = entry.desc & LOW_ADDRESS & !(self.page_bytes() - 1);
            self.pages[entry.level as usize + 1] = Some((page, entry.ipa));
        }
        self.snapshot.entries.push(entry);
        Ok(())
    }

    fn finish(self, line: usize, blame: Blame<'_>) -> Result<Snapshot, CaptureError> {
        let (held, counted) = (self.snapshot.entries.len() as u64, self.counted);
        if held == counted {
            return Ok(self.snapshot);
        }
        let cause =
            format!("snapshot {} holds {held} descriptors, its header counts {counted}", self.snapshot.name);
        Err(blame.cut(line, cause, "as many as it counts"))
    }

    fn page_bytes(&self) -> u64 {
        1 << self.granule.page_shift()
    }

    /// The physical address at which the descriptor must lie: none where no table above it was listed.
    fn place_of(&self, entry: SnapshotEntry) -> Option<u64> {
        let page_shift = self.granule.page_shift();
        let shift = page_shift + (LAST_LEVEL - entry.level) as u32 * level_bits(self.granule);
        let (page, first) = self.pages[entry.level as usize]?;
        let index = entry.ipa.checked_sub(first)? >> shift;
        let is_root = entry.level == self.start_level;
        let fits = entry.ipa & ((1 << shift) - 1) == 0 && (is_root || index < 1 << level_bits(self.granule));
        fits.then(|| page.wrapping_add(index * size_of::<u64>() as u64))
    }
}

/// Address bits that every granule keeps in place.
const LOW_ADDRESS: u64 = (1 << 48) - 1;

fn level_bits(granule: Granule) -> u32 {
    granule.page_shift() - size_of::<u64>().trailing_zeros()
}
