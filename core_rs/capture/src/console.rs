//! A kernel's log, line by line: what the kernel printed, without what printk and the log's transport put before it.
//!
//! Forms: a serial console, `dmesg` (also `-x`, `-r` and `-T`), `/dev/kmsg`, a journal's short form. Guarantee: the
//! text of a message is not changed, but that `/dev/kmsg`'s escapes of line ends make several messages of one.

use crate::fields::decimal;
use crate::text::Line;

/// One line of what the kernel (or somebody else on its console) said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The line of the log.
    pub(crate) line: usize,
    /// printk's time, in microseconds, where the log has it.
    pub(crate) time_us: Option<u64>,
    /// Who printed it (`T93`, a task, or `C1`, a processor), where the kernel says so (`CONFIG_PRINTK_CALLER`).
    pub(crate) caller: Option<&'a str>,
    /// The text.
    pub(crate) text: &'a str,
}

/// The messages of a line.
pub(crate) fn messages(line: Line<'_>) -> impl Iterator<Item = Message<'_>> {
    let parts = if kmsg(line.text).is_some() { [line.text, ""] } else { apart(line.text) };
    parts.into_iter().enumerate().filter(|(at, part)| *at == 0 || !part.is_empty()).flat_map(
        move |(_, part)| {
            let (time_us, caller, text) = kmsg(part).unwrap_or_else(|| prefixed(part));
            text.split("\\x0a").map(move |text| Message { line: line.number, time_us, caller, text })
        },
    )
}

/// A serial line's noise, or a line of somebody who did not end it, and the message that begins behind it.
fn apart(text: &str) -> [&str; 2] {
    let begins = |at: &usize| {
        let inside = text[at + 1..].split_once(']').map(|(inside, _)| inside.trim_start());
        let is_time = inside
            .is_some_and(|one| one.len() > 7 && one.as_bytes()[one.len() - 7] == b'.' && time(one).is_some());
        is_time && !prefixed(&text[..*at]).2.trim().is_empty()
    };
    let at = text.match_indices('[').map(|(at, _)| at).filter(|at| *at > 0).find(begins);
    at.map_or([text, ""], |at| [&text[..at], &text[at..]])
}

/// `level,sequence,microseconds,flags[,caller=T93];text`
fn kmsg(text: &str) -> Option<(Option<u64>, Option<&str>, &str)> {
    let (header, text) = text.split_once(';')?;
    let mut fields = header.split(',');
    decimal(fields.next()?)?;
    decimal(fields.next()?)?;
    let time_us = decimal(fields.next()?)?;
    fields.next()?;
    Some((Some(time_us), fields.find_map(|field| field.strip_prefix("caller=")), text))
}

/// Everything else: a level, then brackets with the time and the caller.
fn prefixed(text: &str) -> (Option<u64>, Option<&str>, &str) {
    let mut rest = without_transport(text);
    let (mut time_us, mut caller) = (None, None);
    while let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let inside = inside.trim();
        if let Some(us) = time(inside) {
            time_us = Some(us);
        } else if is_caller(inside) {
            caller = Some(inside);
        } else if !is_date(inside) {
            break;
        }
        // One blank belongs to the prefix, more belong to the text.
        rest = after.strip_prefix(' ').unwrap_or(after);
        if caller.is_none() && rest.trim_start().starts_with('[') {
            rest = rest.trim_start();
        }
    }
    (time_us, caller, rest)
}

/// Drops `<3>`, `kern  :err   : ` and `date host kernel: `.
fn without_transport(text: &str) -> &str {
    if let Some((level, rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>'))
        && decimal(level).is_some()
    {
        return rest;
    }
    if let Some(rest) = text.strip_prefix("kern  :") {
        return rest.split_once(": ").map_or(text, |(_, rest)| rest);
    }
    if !text.starts_with('[')
        && let Some((head, rest)) = text.split_once(" kernel: ")
        && head.len() < 100
        && !head.contains('[')
    {
        return rest;
    }
    text
}

/// `5.329163`; microseconds, whatever the number of decimals.
fn time(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    decimal(fraction)?;
    decimal(seconds)?.checked_mul(1_000_000)?.checked_add(decimal(&digits)?)
}

fn is_caller(text: &str) -> bool {
    text.strip_prefix(['T', 'C']).is_some_and(|number| decimal(number).is_some())
}

/// `Tue Nov 24 15:06:24 2026`
fn is_date(text: &str) -> bool {
    text.split_whitespace().count() == 5 && text.matches(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, time_us: Option<u64>, caller: Option<&str>, message: &str) {
        let line = Line { number: 7, text, ended: true };
        let found: Vec<_> = messages(line).collect();
        assert_eq!(found, [Message { line: 7, time_us, caller, text: message }]);
    }

    #[test]
    fn the_text_is_what_the_kernel_printed() {
        check("[    5.329163] BUG: KASAN", Some(5_329_163), None, "BUG: KASAN");
        check("[    5.329163][   T93] BUG: KASAN", Some(5_329_163), Some("T93"), "BUG: KASAN");
        check("[    5.329163] [ T93]  kfree+0x1/0x2", Some(5_329_163), Some("T93"), " kfree+0x1/0x2");
        check("[    5.329163][    C0]  kfree+0x1/0x2", Some(5_329_163), Some("C0"), " kfree+0x1/0x2");
        check("[    5.084] S6b iter 0", Some(5_084_000), None, "S6b iter 0");
        check("<3>[    5.329163] BUG", Some(5_329_163), None, "BUG");
        check("kern  :err   : [    5.329163] BUG: KASAN: x", Some(5_329_163), None, "BUG: KASAN: x");
        check("[Tue Nov 24 15:06:24 2026] BUG: KASAN: x", None, None, "BUG: KASAN: x");
        check("Nov 24 15:06:24 host kernel: BUG: KASAN: x", None, None, "BUG: KASAN: x");
        check("3,202,5329163,-;BUG: KASAN", Some(5_329_163), None, "BUG: KASAN");
        check("3,202,5329163,-,caller=T43; kfree+0x1/0x2", Some(5_329_163), Some("T43"), " kfree+0x1/0x2");
        check(" kfree+0x1/0x2 [kvm]", None, None, " kfree+0x1/0x2 [kvm]");
        check("[kvm] is a module", None, None, "[kvm] is a module");
        check("[    5.3] took [0.5] s", Some(5_300_000), None, "took [0.5] s");
    }

    #[test]
    fn a_message_behind_noise_or_behind_a_line_without_an_end_is_one_of_its_own() {
        for noise in ["\u{fffd}\u{1b}[0m", "init: mounting", "[    5.084001] S6b iter", "login: "] {
            let text = format!("{noise}[    5.329163][   T93] BUG: KASAN");
            let found: Vec<_> = messages(Line { number: 1, text: &text, ended: true }).collect();
            assert_eq!(found.len(), 2, "{text}");
            let Message { time_us, caller, text, .. } = found[1];
            assert_eq!((time_us, caller, text), (Some(5_329_163), Some("T93"), "BUG: KASAN"));
        }
    }

    #[test]
    fn a_record_of_kmsg_with_a_line_end_is_two_messages() {
        let text =
            "3,272,5335759,-;The buggy address belongs to the object at ff\\x0a which belongs to the cache x";
        let found: Vec<_> = messages(Line { number: 1, text, ended: true }).map(|one| one.text).collect();
        assert_eq!(found, ["The buggy address belongs to the object at ff", " which belongs to the cache x"]);
    }
}
