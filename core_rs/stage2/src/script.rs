//! Scripts of table operations: the format of the golden cases, and the report that goes with them.
//!
//! A script is a first line `# granule 4k args --ipa-bits=40 ...` and an operation a line. The report says
//! for each operation what it caused and returned, and what the table then holds where the script asks.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::native::Native;
use runtime::{Runtime as _, site};

use crate::config::{Config, ConfigError, WalkerKind};
use crate::env::Env;
use crate::errno::Errno;
use crate::inspect::{Entry, Kind};
use crate::maintenance::{Event, EventLog, Tlbi};
use crate::prot::Prot;
use crate::table::Table;
use crate::walk::Walk;

/// Invalidations shown for one operation; all are counted.
const SHOWN_TLBIS: usize = 64;

/// The level that stands for "no walk happened".
const NO_LEVEL: i8 = -9;

/// Why a script cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A line that is not what the format allows there.
    #[error("line {line}: {found:?}: {expected}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// The offending word or line.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The header asks for a table that cannot be.
    #[error("line 1: {0}")]
    Config(#[from] ConfigError),
}

/// Runs a script on a table that `walker` walks; with `upstream` the answer is the text that stands beside each
/// golden case, with `fast` there may be fewer and wider invalidations.
///
/// ```
/// let script = "# granule 4k args --ipa-bits=40\nmap 0x1000 0x1000 0x2000 rw normal\n";
/// let report = stage2::run_ops(script, stage2::WalkerKind::Upstream)?;
/// assert_eq!(report.lines().last(), Some("= rc 0 tlbi 0 alloc 2 free 0 live 4"));
/// # Ok::<(), stage2::ScriptError>(())
/// ```
pub fn run_ops(text: &str, walker: WalkerKind) -> Result<String, ScriptError> {
    run_ops_until(text, walker, &AtomicBool::new(false))
}

/// [`run_ops`], but `stop` ends it after the operation under way; the report is then of what was done.
pub fn run_ops_until(text: &str, walker: WalkerKind, stop: &AtomicBool) -> Result<String, ScriptError> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let (_, header) = lines.next().unwrap_or((1, ""));
    let config = Config { walker, ..parse_header(header)? };
    // All lines are read before the first runs: a script with an error changes nothing.
    let operations = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| Ok((line, parse_line(number, line)?)))
        .collect::<Result<Vec<_>, ScriptError>>()?;
    let mut run = Run::new(config)?;
    for (line, operation) in operations {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        run.operation(line, operation);
    }
    Ok(run.report)
}

/// One line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Map { walk: Walk, ipa: u64, size: u64, pa: u64, prot: Prot },
    Unmap { ipa: u64, size: u64 },
    Wrprotect { ipa: u64, size: u64 },
    Mkyoung { ipa: u64 },
    ClearYoung { ipa: u64, size: u64, mkold: bool },
    Relax { ipa: u64, prot: Prot },
    Split { ipa: u64, size: u64, cache_pages: Option<u64> },
    Annotate { ipa: u64, size: u64, kind: u8, value: u64 },
    Get { ipa: u64 },
    Flush { ipa: u64, size: u64 },
    DestroyRange { ipa: u64, size: u64 },
    Destroy,
    Init,
    Dump,
    FailAlloc { after: Option<u64> },
}

/// A table under a script, and what was reported so far.
struct Run {
    table: Table<Native>,
    env: Env<EventLog>,
    report: String,
}

impl Run {
    fn new(config: Config) -> Result<Self, ScriptError> {
        let table = Table::new(config)?;
        let geometry = table.geometry();
        let flag = u8::from;
        let report = format!(
            "CONFIG page-shift {} ipa-bits {} fwb {} xnx {} tlbrange {} lpa2 {} as-s1 {} force-pte {}\n",
            geometry.page_shift(),
            geometry.ipa_bits(),
            flag(config.fwb),
            flag(config.xnx),
            flag(config.tlb_range),
            flag(config.lpa2),
            flag(config.as_s1),
            flag(config.force_pte),
        );
        Ok(Self { table, env: Env::new(EventLog::default()), report })
    }

    fn operation(&mut self, line: &str, operation: Operation) {
        self.say(format_args!("> {line}"));
        if operation == Operation::Dump {
            self.dump();
            return;
        }
        let before = self.table.page_totals();
        let (result, answer) = self.apply(operation);
        <Native>::rcu_barrier(site!("run_ops")); // subtrees that the operation unlinked are freed in it
        let after = self.table.page_totals();
        let tlbis = self.events();
        if let Answer::Leaf(level, desc) = answer {
            self.say(format_args!("  LEAF level {level} 0x{desc:016x}"));
        }
        let rc = result.map_or_else(Errno::code, |()| 0);
        let val = match answer {
            Answer::Young(young) => format!(" val {}", u8::from(young)),
            _ => String::new(),
        };
        let (alloc, free) = (after.0 - before.0, after.1 - before.1);
        let live = self.table.live_pages();
        self.say(format_args!("= rc {rc}{val} tlbi {tlbis} alloc {alloc} free {free} live {live}"));
    }

    fn apply(&mut self, operation: Operation) -> (Result<(), Errno>, Answer) {
        let (table, env) = (&self.table, &mut self.env);
        let mut answer = Answer::None;
        let result = match operation {
            Operation::Map { walk, ipa, size, pa, prot } => table.map(env, walk, ipa, size, pa, prot),
            Operation::Unmap { ipa, size } => table.unmap(env, ipa, size),
            Operation::Wrprotect { ipa, size } => table.wrprotect(env, ipa, size),
            Operation::Relax { ipa, prot } => table.relax_perms(env, ipa, prot),
            Operation::Annotate { ipa, size, kind, value } => table.annotate(env, ipa, size, kind, value),
            Operation::Flush { ipa, size } => table.flush(env, ipa, size),
            Operation::Split { ipa, size, cache_pages } => {
                env.memcache.set_left(cache_pages);
                let result = table.split(env, ipa, size);
                env.memcache.set_left(None);
                result
            }
            Operation::Get { ipa } => {
                let leaf = table.get_leaf(ipa);
                answer = leaf.map_or(Answer::Leaf(NO_LEVEL, 0), |leaf| Answer::Leaf(leaf.level, leaf.desc));
                leaf.map(|_| ())
            }
            Operation::ClearYoung { ipa, size, mkold } => {
                answer = Answer::Young(table.test_clear_young(env, ipa, size, mkold));
                Ok(())
            }
            Operation::Mkyoung { ipa } => {
                table.mkyoung(env, ipa);
                Ok(())
            }
            Operation::DestroyRange { ipa, size } => {
                table.destroy_range(env, ipa, size);
                Ok(())
            }
            Operation::Destroy => {
                table.destroy(env);
                Ok(())
            }
            Operation::Init => {
                table.init();
                Ok(())
            }
            Operation::FailAlloc { after } => {
                env.memcache.fail_after(after);
                Ok(())
            }
            Operation::Dump => Ok(()),
        };
        (result, answer)
    }

    /// Reports what the operation caused; answers how many invalidations that were.
    fn events(&mut self) -> usize {
        let mut tlbis = 0;
        for event in std::mem::take(&mut self.env.log.events) {
            if let Event::Tlbi(tlbi) = event {
                tlbis += 1;
                if tlbis <= SHOWN_TLBIS {
                    self.say(format_args!("  TLBI {}", render_tlbi(tlbi)));
                }
                continue;
            }
            match event {
                Event::DcacheClean { pa, size } => self.say(format_args!("  DC pa {pa:#x} size {size:#x}")),
                Event::IcacheInvalidate { pa, size } => {
                    self.say(format_args!("  IC pa {pa:#x} size {size:#x}"));
                }
                Event::FreeUnlinked { level } => self.say(format_args!("  FREE_UNLINKED level {level}")),
                Event::Warn | Event::Tlbi(_) => self.say(format_args!("WARN")),
            }
        }
        tlbis
    }

    fn dump(&mut self) {
        let live = self.table.live_pages();
        let Some(root) = self.table.root() else {
            self.say(format_args!("DUMP destroyed live-pages {live}"));
            return;
        };
        let geometry = *self.table.geometry();
        let (level, pages) = (geometry.start_level(), geometry.root_pages());
        self.say(format_args!("DUMP start-level {level} root-pages {pages} live-pages {live}"));
        let mut roots = 0;
        let mut run: Option<EntryRun> = None;
        let mut text = std::mem::take(&mut self.report);
        self.table.for_each_slot(|entry| {
            if entry.level == level && entry.index == 0 {
                EntryRun::finish(run.take().as_ref(), &mut text);
                let page = self.table.ref_count(root.plus(roots));
                let _ = writeln!(text, "ROOT {roots} ref {page}");
                roots += 1;
            }
            if entry.desc == 0 {
                return;
            }
            if entry.kind() == Kind::Table {
                EntryRun::finish(run.take().as_ref(), &mut text);
                let attributes = self.table.encoding().attributes(entry.desc);
                let count = self.table.ref_count(self.table.child(entry.desc));
                let _ = writeln!(
                    text,
                    "{} 0x{:012x} TABLE attr {attributes:#x} ref {count}",
                    entry.level, entry.ipa
                );
            } else if !run.as_mut().is_some_and(|run| run.takes(&self.table, entry)) {
                EntryRun::finish(run.replace(EntryRun { first: entry, count: 1 }).as_ref(), &mut text);
            }
        });
        EntryRun::finish(run.as_ref(), &mut text);
        text.push_str("END\n");
        self.report = text;
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.report, "{line}"); // writing to a String does not fail
    }
}

/// What an operation answers beside its return code.
enum Answer {
    None,
    Leaf(i8, u64),
    Young(bool),
}

/// Neighbouring entries of one table: leaves whose address grows by their size, or equal annotations.
struct EntryRun {
    first: Entry,
    count: u64,
}

impl EntryRun {
    /// Whether `next` continues the run; if so, it is in.
    fn takes(&mut self, table: &Table<Native>, next: Entry) -> bool {
        let size = table.geometry().granule_size(self.first.level);
        let offset = self.count * size;
        let encoding = table.encoding();
        let continues = (next.level, next.ipa) == (self.first.level, self.first.ipa + offset)
            && next.kind() == self.first.kind()
            && match next.kind() {
                Kind::Invalid => next.desc == self.first.desc,
                _ => {
                    encoding.attributes(next.desc) == encoding.attributes(self.first.desc)
                        && encoding.decode_pa(next.desc) == encoding.decode_pa(self.first.desc) + offset
                }
            };
        self.count += u64::from(continues);
        continues
    }

    fn finish(run: Option<&Self>, text: &mut String) {
        if let Some(&Self { first, count }) = run {
            let mark = if first.kind() == Kind::Invalid { " INVALID" } else { "" };
            let _ =
                writeln!(text, "{} 0x{:012x} 0x{:016x} x{count}{mark}", first.level, first.ipa, first.desc);
        }
    }
}

fn render_tlbi(tlbi: Tlbi) -> String {
    let level = |level: Option<i8>| level.map_or("unknown".to_owned(), |level| level.to_string());
    match tlbi {
        Tlbi::Ipa { ipa, level: at } => format!("ipa {ipa:#x} level {}", level(at)),
        Tlbi::IpaNsh { ipa, level: at } => format!("ipa-nsh {ipa:#x} level {}", level(at)),
        Tlbi::Range { ipa, pages } => format!("range {ipa:#x} pages {pages}"),
        Tlbi::Vmid => "vmid-all".to_owned(),
    }
}

fn syntax(line: usize, found: &str, expected: &'static str) -> ScriptError {
    ScriptError::Syntax { line, found: found.to_owned(), expected }
}

fn parse_header(header: &str) -> Result<Config, ScriptError> {
    const HEADER: &str = "a script begins with `# granule 4k|16k|64k args [--ipa-bits=N] ...`";
    let mut words = header.split_whitespace();
    let (Some("#"), Some("granule"), Some(granule), Some("args")) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(syntax(1, header, HEADER));
    };
    let mut config = Config { granule: granule.parse()?, ..Config::default() };
    for word in words {
        let (name, value) =
            word.split_once('=').ok_or_else(|| syntax(1, word, "an argument is --name=number"))?;
        let flag = match name {
            "--ipa-bits" => {
                config.ipa_bits = decimal(1, word, value)?;
                continue;
            }
            "--start-level" => {
                config.start_level = Some(decimal(1, word, value)?);
                continue;
            }
            "--fwb" => &mut config.fwb,
            "--tlbrange" => &mut config.tlb_range,
            "--xnx" => &mut config.xnx,
            "--lpa2" => &mut config.lpa2,
            "--as-s1" => &mut config.as_s1,
            "--force-pte" => &mut config.force_pte,
            "--cmo" => &mut config.cmo,
            _ => {
                return Err(syntax(
                    1,
                    word,
                    "known arguments are --ipa-bits --start-level --fwb --tlbrange --xnx --lpa2 --as-s1 \
                     --force-pte --cmo",
                ));
            }
        };
        *flag = match value {
            "0" => false,
            "1" => true,
            _ => return Err(syntax(1, word, "a feature is 0 or 1")),
        };
    }
    Ok(config)
}

fn decimal<T: FromStr>(line: usize, word: &str, value: &str) -> Result<T, ScriptError> {
    value.parse().map_err(|_| syntax(line, word, "this is a small decimal number"))
}

fn parse_line(number: usize, line: &str) -> Result<Operation, ScriptError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let num = |word: &str| {
        let parsed = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        parsed.map_err(|_| syntax(number, word, "this is a 64-bit number, decimal or 0x hexadecimal"))
    };
    let flag = |word: &str| match word {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(syntax(number, word, "MKOLD is 0 or 1")),
    };
    let prot = |word: &str| parse_prot(number, word);
    Ok(match *words.as_slice() {
        [name @ ("map" | "maps"), ipa, size, pa, letters, memory] => Operation::Map {
            walk: if name == "maps" { Walk::Shared } else { Walk::Exclusive },
            ipa: num(ipa)?,
            size: num(size)?,
            pa: num(pa)?,
            prot: prot(letters)? | parse_memory(number, memory)?,
        },
        ["unmap", ipa, size] => Operation::Unmap { ipa: num(ipa)?, size: num(size)? },
        ["wrprotect", ipa, size] => Operation::Wrprotect { ipa: num(ipa)?, size: num(size)? },
        ["mkyoung", ipa] => Operation::Mkyoung { ipa: num(ipa)? },
        ["clear_young", ipa, size, mkold] => {
            Operation::ClearYoung { ipa: num(ipa)?, size: num(size)?, mkold: flag(mkold)? }
        }
        ["relax", ipa, letters] => Operation::Relax { ipa: num(ipa)?, prot: prot(letters)? },
        ["split", ipa, size] => Operation::Split { ipa: num(ipa)?, size: num(size)?, cache_pages: None },
        ["split", ipa, size, pages] => {
            Operation::Split { ipa: num(ipa)?, size: num(size)?, cache_pages: Some(num(pages)?) }
        }
        ["annotate", ipa, size, kind, value] => Operation::Annotate {
            ipa: num(ipa)?,
            size: num(size)?,
            kind: num(kind)?.try_into().map_err(|_| syntax(number, kind, "TYPE is 0 to 15"))?,
            value: num(value)?,
        },
        ["get", ipa] => Operation::Get { ipa: num(ipa)? },
        ["flush", ipa, size] => Operation::Flush { ipa: num(ipa)?, size: num(size)? },
        ["destroy_range", ipa, size] => Operation::DestroyRange { ipa: num(ipa)?, size: num(size)? },
        ["destroy"] => Operation::Destroy,
        ["init"] => Operation::Init,
        ["dump"] => Operation::Dump,
        ["failalloc", "-1"] => Operation::FailAlloc { after: None },
        ["failalloc", n] => Operation::FailAlloc { after: Some(num(n)?) },
        _ => return Err(syntax(number, line, expected_form(words.first().copied().unwrap_or_default()))),
    })
}

/// What a line that begins with `name` should look like.
fn expected_form(name: &str) -> &'static str {
    const FORMS: [&str; 16] = [
        "map IPA SIZE PA PROT MEMTYPE",
        "maps IPA SIZE PA PROT MEMTYPE",
        "unmap IPA SIZE",
        "wrprotect IPA SIZE",
        "mkyoung IPA",
        "clear_young IPA SIZE MKOLD",
        "relax IPA PROT",
        "split IPA SIZE [CACHE_PAGES]",
        "annotate IPA SIZE TYPE VALUE",
        "get IPA",
        "flush IPA SIZE",
        "destroy_range IPA SIZE",
        "destroy (alone)",
        "init (alone)",
        "dump (alone)",
        "failalloc N (-1: no limit)",
    ];
    FORMS.into_iter().find(|form| form.split(' ').next() == Some(name)).unwrap_or(
        "an operation is one of map maps unmap wrprotect mkyoung clear_young relax split annotate get flush \
         destroy_range destroy init dump failalloc",
    )
}

fn parse_prot(line: usize, word: &str) -> Result<Prot, ScriptError> {
    if word == "-" {
        return Ok(Prot::empty());
    }
    word.chars().try_fold(Prot::empty(), |prot, letter| {
        Ok(prot
            | match letter {
                'r' => Prot::R,
                'w' => Prot::W,
                'x' => Prot::X,
                'u' => Prot::UX,
                'p' => Prot::PX,
                '0' => Prot::SW0,
                '1' => Prot::SW1,
                '2' => Prot::SW2,
                '3' => Prot::SW3,
                _ => {
                    return Err(syntax(line, word, "PROT is letters of r w x u p 0 1 2 3, or - for none"));
                }
            })
    })
}

fn parse_memory(line: usize, word: &str) -> Result<Prot, ScriptError> {
    match word {
        "normal" => Ok(Prot::empty()),
        "device" => Ok(Prot::DEVICE),
        "nc" => Ok(Prot::NORMAL_NC),
        _ => Err(syntax(line, word, "MEMTYPE is normal, device or nc")),
    }
}
