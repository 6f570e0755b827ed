//! `/proc/lock_stat` (Documentation/locking/lockstat.rst): counts and times of lock classes, and the places
//! where they were contended. Times are microseconds.

use crate::error::{Blame, CaptureError, quote};
use crate::fields::{bare_hex, decimal};
use crate::text::{Line, Text};

/// What `/proc/lock_stat` said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockStat {
    /// Its format, such as `0.4`.
    pub version: String,
    /// The kernel's own warnings in it, such as that lock debugging was switched off by a splat.
    pub warnings: Vec<String>,
    /// One row a class, two for a reader-writer lock: the kernel's order, most contended first.
    pub rows: Vec<LockStatRow>,
    /// The places of contention, in the order of their classes.
    pub points: Vec<ContentionPoint>,
}

/// Which side of a reader-writer lock a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// `-R`
    Read,
    /// `-W`
    Write,
}

/// A lock class, or one side of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the columns' own names, explained in the kernel's documentation
pub struct LockStatRow {
    /// The class, without the suffix of the side.
    pub class: String,
    /// The side, for a reader-writer lock.
    pub side: Option<Side>,
    pub con_bounces: u64,
    pub contentions: u64,
    pub waittime_min_us: f64,
    pub waittime_max_us: f64,
    pub waittime_total_us: f64,
    pub waittime_avg_us: f64,
    pub acq_bounces: u64,
    pub acquisitions: u64,
    pub holdtime_min_us: f64,
    pub holdtime_max_us: f64,
    pub holdtime_total_us: f64,
    pub holdtime_avg_us: f64,
}

/// Which of the two lists a place stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// The first list: here somebody had to wait.
    Contended,
    /// The second list: here was whoever it waited for.
    Contending,
}

/// A place of contention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentionPoint {
    /// The lock class.
    pub class: String,
    /// Which of its two lists.
    pub kind: PointKind,
    /// How often.
    pub count: u64,
    /// The return address.
    pub address: u64,
    /// The same as symbol+offset/size.
    pub symbol: String,
}

/// The columns, in their order.
const COLUMNS: [&str; 12] = [
    "con-bounces",
    "contentions",
    "waittime-min",
    "waittime-max",
    "waittime-total",
    "waittime-avg",
    "acq-bounces",
    "acquisitions",
    "holdtime-min",
    "holdtime-max",
    "holdtime-total",
    "holdtime-avg",
];

/// Reads `/proc/lock_stat` from `bytes`, gzip or plain; `name` stands in the messages.
pub fn parse_lock_stat(bytes: &[u8], name: &str) -> Result<LockStat, CaptureError> {
    const EXPECTED: &str = "the text of /proc/lock_stat, which begins `lock_stat version 0.4`";
    let blame = Blame { file: name, what: "a /proc/lock_stat" };
    let text = Text::read(bytes, blame)?;
    let mut stat = LockStat::default();
    let mut has_columns = false;
    let mut class: Option<String> = None;
    let mut rules = 0; // dashed lines since the class began
    let mut last = 0;
    for line in text.lines() {
        last = line.number;
        let content = line.text.trim();
        if last == 1 {
            let version = content.strip_prefix("lock_stat version ");
            let version = version
                .ok_or_else(|| blame.not_this(1, format!("it begins with {}", quote(content)), EXPECTED))?;
            if version != "0.4" {
                let cause = format!("its version is {}", quote(version));
                return Err(blame.format(1, cause, "lock_stat version 0.4"));
            }
            version.clone_into(&mut stat.version);
        } else if let Some(warning) = content.strip_prefix("*WARNING*") {
            stat.warnings.push(warning.trim().to_owned());
        } else if let Some(columns) = content.strip_prefix("class name") {
            if !columns.split_whitespace().eq(COLUMNS) {
                let cause = format!("its columns are {}", quote(columns.trim()));
                return Err(blame.format(last, cause, COLUMNS.join(" ")));
            }
            has_columns = true;
        } else if content.is_empty() || content.bytes().all(|byte| byte == b'.') {
            rules = 0;
        } else if content.bytes().all(|byte| byte == b'-') {
            rules += 1;
        } else if !has_columns {
            return Err(blame.format(
                last,
                format!("{} comes before the columns", quote(content)),
                COLUMNS.join(" "),
            ));
        } else if let Some((place, symbol)) = content.split_once(" [<") {
            let point = point(place, symbol, rules, class.as_deref());
            stat.points
                .push(point.map_err(|cause| odd(line, cause, "class count [<address>] symbol", blame))?);
        } else {
            let row = row(content).map_err(|cause| odd(line, cause, "class: and twelve numbers", blame))?;
            class = Some(row.class.clone());
            rules = 0;
            stat.rows.push(row);
        }
    }
    if has_columns { Ok(stat) } else { Err(blame.cut(last, "it ends before its columns", COLUMNS.join(" "))) }
}

#[cold]
fn odd(line: Line<'_>, cause: &str, expected: &str, blame: Blame<'_>) -> CaptureError {
    let found = format!("{cause} in {}", quote(line.text.trim()));
    if line.ended {
        blame.format(line.number, found, expected)
    } else {
        blame.cut(line.number, format!("the last line breaks off, {found}"), expected)
    }
}

/// A class's name may hold blanks, so its numbers are taken from the right.
fn row(text: &str) -> Result<LockStatRow, &'static str> {
    let mut rest = text;
    let mut numbers = [""; COLUMNS.len()];
    for number in numbers.iter_mut().rev() {
        let (before, word) = rest.trim_end().rsplit_once(char::is_whitespace).ok_or("too few numbers")?;
        (rest, *number) = (before, word);
    }
    let name = rest.trim_end().strip_suffix(':').ok_or("no colon after the class")?;
    let (class, side) = match (name.strip_suffix("-R"), name.strip_suffix("-W")) {
        (Some(class), _) => (class, Some(Side::Read)),
        (_, Some(class)) => (class, Some(Side::Write)),
        _ => (name, None),
    };
    let count = |column: usize| decimal(numbers[column]).ok_or("a count that is not a number");
    let time_us = |column: usize| time_us(numbers[column]).ok_or("a time that is not in microseconds");
    Ok(LockStatRow {
        class: class.to_owned(),
        side,
        con_bounces: count(0)?,
        contentions: count(1)?,
        waittime_min_us: time_us(2)?,
        waittime_max_us: time_us(3)?,
        waittime_total_us: time_us(4)?,
        waittime_avg_us: time_us(5)?,
        acq_bounces: count(6)?,
        acquisitions: count(7)?,
        holdtime_min_us: time_us(8)?,
        holdtime_max_us: time_us(9)?,
        holdtime_total_us: time_us(10)?,
        holdtime_avg_us: time_us(11)?,
    })
}

/// `6102.96`; a total may be negative where the kernel's counter ran over.
fn time_us(text: &str) -> Option<f64> {
    let (whole, hundredths) = text.split_once('.')?;
    decimal(whole.strip_prefix('-').unwrap_or(whole))?;
    decimal(hundredths).filter(|_| hundredths.len() == 2)?;
    text.parse().ok()
}

fn point(
    place: &str,
    symbol: &str,
    rules: u32,
    class: Option<&str>,
) -> Result<ContentionPoint, &'static str> {
    let kind = match rules {
        1 => PointKind::Contended,
        2 => PointKind::Contending,
        _ => return Err("a place that stands in neither list of a class"),
    };
    let class = class.ok_or("a place before any class")?;
    let (name, count) = place.trim_end().rsplit_once(char::is_whitespace).ok_or("no count")?;
    if name.trim() != class {
        return Err("a place of another class");
    }
    let (address, symbol) = symbol.split_once(">]").ok_or("no address")?;
    Ok(ContentionPoint {
        class: class.to_owned(),
        kind,
        count: decimal(count).ok_or("a count that is not a number")?,
        address: bare_hex(address).ok_or("an address that is not hexadecimal")?,
        symbol: symbol.trim().to_owned(),
    })
}
