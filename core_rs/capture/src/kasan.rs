//! KASAN's reports in a kernel's log (Documentation/dev-tools/kasan.rst shows one): what was done, to which address,
//! by whom and from where; where the object was allocated and freed; what object it was.
//!
//! Guarantee: a report is what the log says, nothing is inferred; what a report does not say is absent. Lines of others
//! in the middle of a report (another caller's, a program's, another oops's stack) do not end up in it as far as the log lets
//! one tell. A report that is cut is given as far as it goes, and says so.

use crate::chain::function_of;
use crate::console::{Message, messages};
use crate::error::{Blame, CaptureError};
use crate::fields::bare_hex;
use crate::objects::Known;
use crate::text::Text;

/// One report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KasanReport {
    /// The line at which it begins.
    pub line: usize,
    /// printk's time, in microseconds, where the log has it.
    pub time_us: Option<u64>,
    /// What KASAN calls it: `double-free`, `slab-use-after-free`, `invalid-free`, ...
    pub kind: String,
    /// Where it happened, as KASAN says it: `kvfree+0x3c/0x50`.
    pub place: String,
    /// What was done there.
    pub access: Option<Access>,
    /// How many bytes were accessed.
    pub size_bytes: Option<u64>,
    /// The address.
    pub address: Option<u64>,
    /// The task that did it.
    pub task: Option<Task>,
    /// The processor on which it did.
    pub cpu: Option<u32>,
    /// The kernel's release, such as `7.3.4-1-arm64`.
    pub kernel: Option<String>,
    /// Its calls, innermost first.
    pub stack: Vec<Frame>,
    /// Who allocated the object.
    pub allocated: Option<Track>,
    /// Who freed it, for the first time if twice.
    pub freed: Option<Track>,
    /// The object, where KASAN knows it.
    pub object: Option<SlabObject>,
    /// What a trace beside the log says about the address.
    pub known: Option<Known>,
    /// Whether the log holds the report to its end.
    pub complete: bool,
}

/// What was done to the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was read.
    Read,
    /// It was written.
    Write,
    /// It was freed.
    Free,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub pid: u32,
    /// Its name, where the log says it.
    pub comm: Option<String>,
}

/// Who allocated or freed an object, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The task.
    pub task: Option<Task>,
    /// The processor, with `CONFIG_KASAN_EXTRA_INFO`.
    pub cpu: Option<u32>,
    /// The calls, innermost first.
    pub stack: Vec<Frame>,
}

/// A line of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function, as the symbol is called: `kvm_mmu_split_huge_pages.isra.0`.
    pub symbol: String,
    /// Offset in the function and the function's size; none for an inlined one.
    pub offset: Option<(u64, u64)>,
    /// The module.
    pub module: Option<String>,
}

/// The object of the slab allocator that holds the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlabObject {
    /// Where it begins.
    pub address: u64,
    /// The cache that it is from, such as `kmalloc-8k`.
    pub cache: Option<String>,
    /// How large the cache's objects are.
    pub size_bytes: Option<u64>,
}

/// Reads the reports in `bytes`, gzip or plain, in their order; `name` stands in the messages. No report is no error.
///
/// Errors: [`CaptureError`] if it is no text, or has neither a line of printk nor a report.
///
/// ```
/// let log = b"[    5.329163] BUG: KASAN: double-free in kvfree+0x3c/0x50
/// [    5.329414] Free of addr ffff000006ee4000 by task T2/43
/// [    5.330566] Call trace:
/// [    5.331557]  kvm_mmu_free_memory_cache+0xe4/0x118
/// ";
/// let report = &capture::parse_kasan(log, "console.txt")?[0];
/// assert_eq!((report.kind.as_str(), report.address), ("double-free", Some(0xffff000006ee4000)));
/// assert_eq!(report.stack[0].function(), "kvm_mmu_free_memory_cache");
/// assert!(!report.complete);
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_kasan(bytes: &[u8], name: &str) -> Result<Vec<KasanReport>, CaptureError> {
    let blame = Blame { file: name, what: "a kernel's log" };
    let text = Text::read_noisy(bytes, blame)?;
    let mut reader = Reader::default();
    let mut is_log = false;
    for message in text.lines().flat_map(messages) {
        is_log |= message.time_us.is_some();
        reader.message(message);
    }
    reader.end(reader.is_ruled);
    if reader.reports.is_empty() && !is_log {
        let expected = "lines of printk such as `[    5.329163] ...`";
        return Err(blame.not_this(1, "no line has printk's time, and there is no report", expected));
    }
    Ok(reader.reports)
}

impl Frame {
    /// The function's own name, without what the compiler appended to it (`.isra.0`, `.constprop.0`, `.part.0`).
    pub fn function(&self) -> &str {
        function_of(&self.symbol)
    }

    /// `function+0x3c/0x50 [module] (flags)`, also with a place in the source behind it, or inlined with only that.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next()?;
        let module = words
            .clone()
            .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
            .filter(|module| *module != "inline");
        let is_inlined = words.clone().any(|word| word == "[inline]");
        let (symbol, offset) = match first.split_once('+') {
            Some((symbol, offset)) => {
                let (offset, size) = offset.split_once('/')?;
                let hex = |text: &str| bare_hex(text.strip_prefix("0x")?);
                (symbol, Some((hex(offset)?, hex(size)?)))
            }
            // Inlined, or as scripts/decode_stacktrace.sh has it: `function (file.c:93)`.
            None if is_inlined || words.next().is_some_and(is_place) => (first, None),
            None => return None,
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte);
        (!symbol.is_empty() && symbol.bytes().all(is_name)).then(|| Self {
            symbol: symbol.to_owned(),
            offset,
            module: module.map(str::to_owned),
        })
    }
}

impl KasanReport {
    /// The tasks that the report names: who did it, who freed the object, who allocated it.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        let tracks =
            [&self.freed, &self.allocated].into_iter().flatten().filter_map(|track| track.task.as_ref());
        self.task.iter().chain(tracks).map(|task| task.pid)
    }
}

/// `(arch/arm64/kvm/mmu.c:93)`, with a bracket that may close behind more words.
fn is_place(word: &str) -> bool {
    let place = word.strip_prefix('(').and_then(|word| word.trim_end_matches(')').rsplit_once(':'));
    place.is_some_and(|(file, line)| {
        file.contains('.') && !line.is_empty() && line.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Which stack the frames that follow belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    /// None: they are not read.
    #[default]
    None,
    Access,
    Allocated,
    Freed,
}

#[derive(Default)]
struct Reader<'a> {
    reports: Vec<KasanReport>,
    /// The report that is being read.
    open: Option<KasanReport>,
    caller: Option<&'a str>,
    section: Section,
    /// The next `Call trace:` is another oops's.
    is_foreign: bool,
    /// The last line of the report was one of equals signs, which end a report, and begin one too.
    is_ruled: bool,
}

impl<'a> Reader<'a> {
    fn message(&mut self, message: Message<'a>) {
        let text = message.text.trim();
        if let Some((kind, place)) = headline(text) {
            // A line of equals signs right before this one began this report; it did not end the one before.
            self.end(false);
            self.begin(message, kind, place);
            return;
        }
        if self.is_ruled {
            self.end(true);
        }
        // Where the kernel says who prints, others' lines are told from the report's.
        if self.open.is_none() || (self.caller.is_some() && message.caller != self.caller) {
            return;
        }
        if text.starts_with("---[ end trace") {
            self.end(true);
        } else if is_rule(text) {
            self.is_ruled = true;
        } else {
            self.line(text);
        }
    }

    fn begin(&mut self, message: Message<'a>, kind: &str, place: Place<'_>) {
        let mut report = KasanReport {
            line: message.line,
            time_us: message.time_us,
            kind: kind.to_owned(),
            ..KasanReport::default()
        };
        match place {
            Place::Function(place) => place.clone_into(&mut report.place),
            Place::Range(start) => report.address = Some(start),
        }
        self.open = Some(report);
        self.caller = message.caller;
        (self.section, self.is_foreign) = (Section::None, false);
    }

    fn end(&mut self, complete: bool) {
        self.is_ruled = false;
        if let Some(report) = self.open.take() {
            self.reports.push(KasanReport { complete, ..report });
        }
    }

    fn line(&mut self, text: &str) {
        let Some(report) = &mut self.open else { return };
        if self.section != Section::None && !self.is_foreign {
            if let Some(frame) = Frame::parse(text) {
                let stack = match self.section {
                    Section::Access => Some(&mut report.stack),
                    Section::Allocated => report.allocated.as_mut().map(|track| &mut track.stack),
                    Section::Freed => report.freed.as_mut().map(|track| &mut track.stack),
                    Section::None => None,
                };
                if let Some(stack) = stack {
                    stack.push(frame);
                }
                return;
            }
            // A stack ends at an empty line. Anything else in it is somebody else's, or a mark such as `<TASK>`.
            if text.is_empty() {
                self.section = Section::None;
                return;
            }
        }
        if let Some(access) = AccessLine::parse(text) {
            if report.access.is_none() {
                report.access = Some(access.access);
                report.size_bytes = access.size_bytes;
                report.address = Some(access.address);
                report.task = access.task;
            }
        } else if let Some(line) = CpuLine::parse(text) {
            self.is_foreign = report.task.as_ref().is_some_and(|task| task.pid != line.task.pid);
            if !self.is_foreign && report.cpu.is_none() {
                report.cpu = Some(line.cpu);
                report.kernel = line.kernel.map(str::to_owned);
                // Oopses, and frees before 6.2, have no line of their own for the task.
                report.task.get_or_insert(line.task);
            }
            if self.is_foreign {
                self.section = Section::None;
            }
        } else if text.eq_ignore_ascii_case("call trace:") {
            let is_ours = !self.is_foreign && report.stack.is_empty();
            self.section = if is_ours { Section::Access } else { Section::None };
        } else if let Some((verb, track)) = track_line(text) {
            self.is_foreign = false;
            let (slot, section) = match verb {
                Verb::Allocated => (&mut report.allocated, Section::Allocated),
                Verb::Freed => (&mut report.freed, Section::Freed),
            };
            self.section = if slot.is_none() { section } else { Section::None };
            slot.get_or_insert(track);
        } else if is_other_stack(text) {
            self.section = Section::None;
        } else {
            object_line(text, report);
        }
    }
}

/// What stands behind the kind.
#[derive(Clone, Copy)]
enum Place<'a> {
    Function(&'a str),
    Range(u64),
}

/// `BUG: KASAN: kind in place`, and what an oops adds: `KASAN: kind in range [0x1-0x8]`.
fn headline(text: &str) -> Option<(&str, Place<'_>)> {
    let (kind, place) =
        text.strip_prefix("BUG: ").unwrap_or(text).strip_prefix("KASAN: ")?.split_once(" in ")?;
    if let Some(range) = place.strip_prefix("range [") {
        let start = range.split('-').next()?;
        return Some((kind, Place::Range(bare_hex(start.strip_prefix("0x").unwrap_or(start))?)));
    }
    text.starts_with("BUG: ").then_some((kind, Place::Function(place)))
}

/// The line of equals signs at the end.
fn is_rule(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte == b'=')
}

struct AccessLine {
    access: Access,
    size_bytes: Option<u64>,
    address: u64,
    task: Option<Task>,
}

impl AccessLine {
    /// `Write of size 8 at addr ffff0000 by task name/93`, `Free of addr ffff0000 by task name/93`
    fn parse(text: &str) -> Option<Self> {
        let (access, rest) = text.split_once(' ')?;
        let access = match access {
            "Read" => Access::Read,
            "Write" => Access::Write,
            "Free" => Access::Free,
            _ => return None,
        };
        let (before, rest) = rest.split_once("addr ")?;
        let size_bytes = match before.split_once("size ") {
            Some((_, size)) => Some(size.split(' ').next()?.parse().ok()?),
            None => None,
        };
        let (address, task) = rest.split_once(" by task ").unwrap_or((rest, ""));
        let task = task.rsplit_once('/').and_then(|(comm, pid)| {
            Some(Task { pid: pid.trim().parse().ok()?, comm: Some(comm.to_owned()) })
        });
        let address = bare_hex(address.trim().trim_start_matches("0x"))?;
        Some(Self { access, size_bytes, address, task })
    }
}

/// `CPU: 1 UID: 0 PID: 43 Comm: T2 Not tainted 7.3.4 #1`
struct CpuLine<'a> {
    cpu: u32,
    task: Task,
    kernel: Option<&'a str>,
}

impl<'a> CpuLine<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("CPU: ")?;
        let cpu = rest.split(' ').next()?.parse().ok()?;
        let (_, rest) = rest.split_once("PID: ")?;
        let (pid, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let comm = rest.strip_prefix("Comm: ").and_then(|rest| {
            let ends = [" Not tainted", " Tainted:", " Kdump:"];
            let end = ends.iter().filter_map(|end| rest.find(end)).min()?;
            Some(rest[..end].to_owned())
        });
        let kernel = text.rsplit_once(" #").and_then(|(before, _)| before.split_whitespace().next_back());
        Some(Self { cpu, task: Task { pid: pid.parse().ok()?, comm }, kernel })
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Allocated,
    Freed,
}

/// `Freed by task 42:`, `Freed by task 42 on cpu 1 at 5.3s:`, and the page owner's lines for whole pages.
fn track_line(text: &str) -> Option<(Verb, Track)> {
    let (verb, rest) = if let Some(rest) = text.strip_prefix("Allocated by task ") {
        (Verb::Allocated, rest)
    } else if let Some(rest) = text.strip_prefix("Freed by task ") {
        (Verb::Freed, rest)
    } else if let Some(rest) = text.strip_prefix("page last allocated via ") {
        (Verb::Allocated, rest.split_once("pid ").map_or("", |(_, rest)| rest))
    } else {
        let rest = text.strip_prefix("page last free")?;
        (Verb::Freed, rest.split_once("pid ").map_or("", |(_, rest)| rest))
    };
    let number = |text: &str| text.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok();
    let task = number(rest).map(|pid| Task { pid, comm: None });
    let cpu = rest.split_once(" on cpu ").and_then(|(_, rest)| number(rest));
    Some((verb, Track { task, cpu, stack: Vec::new() }))
}

/// Headings of stacks that are none of the three.
fn is_other_stack(text: &str) -> bool {
    text.ends_with("work creation:") || text.starts_with("WARNING: ") || text.starts_with("BUG: ")
}

/// The lines that describe the object, and an oops's program counter, each on its own.
fn object_line(text: &str, report: &mut KasanReport) {
    let object = &mut report.object;
    if let Some(place) = text.strip_prefix("pc : ").or_else(|| text.strip_prefix("RIP: 0010:")) {
        if report.place.is_empty() {
            place.clone_into(&mut report.place);
        }
        return;
    }
    if let Some(address) = text.strip_prefix("The buggy address belongs to the object at ") {
        if let Some(address) = bare_hex(address.trim().trim_start_matches("0x")) {
            object.get_or_insert_default().address = address;
        }
    } else if let (Some(rest), Some(object)) =
        (text.strip_prefix("which belongs to the cache "), object.as_mut())
    {
        let (cache, size) = rest.split_once(" of size ").unwrap_or((rest, ""));
        object.cache = Some(cache.to_owned());
        object.size_bytes = size.trim().parse().ok();
    }
}
