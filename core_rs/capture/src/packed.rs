//! The packed form of a trace, `ops.*.jsonl.gz`: one JSON object a line, ordered by the time of return.

use crate::error::{Blame, CaptureError, quote};
use crate::fields::{FieldError, Fields, seconds_us};
use crate::json::{read_object, unescape};
use crate::record::{Comm, Event, Record, Shape, Spec, spec};
use crate::text::{Line, Text};
use crate::trace::{Missing, Trace};

/// Reads the packed records in `bytes`, gzip or plain; `name` stands in the messages.
///
/// Errors: [`CaptureError`] with the line and what is wrong with it; also when a record's index `i` does
/// not follow its predecessor's, unless the file shows that it begins after the VMs it speaks of.
///
/// ```
/// let line = br#"{"i":0,"t1":"1.000250","t0":"1.000000","op":"flush_shadow_all","cpu":0,"pid":93,"comm":"T1","kvm":"0xfff0"}"#;
/// let trace = capture::parse_ops(line, "ops.S6.jsonl")?;
/// let record = &trace.records[0];
/// assert_eq!((record.t0_us, record.t1_us, record.pid), (1_000_000, 1_000_250, 93));
/// assert_eq!(record.event, capture::Event::FlushShadowAll { kvm: 0xfff0 });
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_ops(bytes: &[u8], name: &str) -> Result<Trace, CaptureError> {
    let blame = blame(name);
    read_ops(bytes, blame)?.judged(blame)
}

pub(crate) fn blame(name: &str) -> Blame<'_> {
    Blame { file: name, what: "a file of packed operations" }
}

/// [`parse_ops`] without the judgement over what is missing: other files may explain it.
pub(crate) fn read_ops(bytes: &[u8], blame: Blame<'_>) -> Result<Trace, CaptureError> {
    let text = Text::read(bytes, blame)?;
    let mut trace = Trace::default();
    let mut fields = Fields::new();
    let mut next_index = 0;
    let mut last_us = 0;
    for line in text.lines() {
        read_line(line, &mut fields, blame)?;
        let (record, index) = record(&mut fields, line.number).map_err(|fault| fault.blamed(line, blame))?;
        if index < next_index {
            let cause = format!("index i={index} follows i={}", next_index - 1);
            return Err(blame.reordered(line.number, cause, format!("i={next_index}")));
        }
        if index > next_index {
            let missing = trace.missing.get_or_insert(Missing { line: line.number, count: 0 });
            missing.count += index - next_index;
        }
        if record.t1_us < last_us {
            let cause = "its t1 is earlier than that of the line before";
            return Err(blame.reordered(line.number, cause, "records ordered by t1"));
        }
        (next_index, last_us) = (index + 1, record.t1_us);
        trace.records.push(record);
    }
    Ok(trace)
}

/// Reads the line's object; a fault in the first line is a fault of the whole.
pub(crate) fn read_line<'a>(
    line: Line<'a>,
    fields: &mut Fields<'a>,
    blame: Blame<'_>,
) -> Result<(), CaptureError> {
    const EXPECTED: &str = "one flat JSON object a line";
    read_object(line.text, fields).map_err(|cause| match line {
        Line { number: 1, text, .. } if !text.trim_start().starts_with('{') => {
            blame.not_this(1, format!("it begins with {}", quote(text)), EXPECTED)
        }
        Line { ended: false, .. } => {
            blame.cut(line.number, format!("the last line breaks off, {cause}"), EXPECTED)
        }
        _ => blame.format(line.number, cause, EXPECTED),
    })
}

/// What can be wrong with an object that is JSON.
enum Fault {
    Field(Option<&'static Spec>, FieldError),
    Op(String),
    Times,
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::Field(None, error)
    }
}

impl Fault {
    #[cold]
    fn blamed(self, line: Line<'_>, blame: Blame<'_>) -> CaptureError {
        match self {
            Self::Field(None, error) => blame.format(line.number, error.to_string(), error.expected()),
            Self::Field(Some(spec), error) => {
                let expected = format!("{}, as {} has {}", error.expected(), spec.op, spec.fields.join(" "));
                blame.format(line.number, error.to_string(), expected)
            }
            Self::Op(op) => {
                let cause = format!("op {} is not an operation of a capture", quote(&op));
                blame.format(line.number, cause, format!("one of {}", Event::OPS.join(" ")))
            }
            Self::Times => {
                blame.format(line.number, "it returned (t1) before it was entered (t0)", "t0 <= t1")
            }
        }
    }
}

fn record(fields: &mut Fields<'_>, line: usize) -> Result<(Record, u64), Fault> {
    const SECONDS: &str = "seconds with six decimals such as 3.595701";
    let index = fields.number("i")?;
    let t1_us = fields.parse("t1", SECONDS, seconds_us)?;
    let t0_us = match fields.find("t0") {
        Some(_) => Some(fields.parse("t0", SECONDS, seconds_us)?),
        None => None,
    };
    let op = fields.text("op")?;
    let spec = spec(op).ok_or_else(|| Fault::Op(op.to_owned()))?;
    let t0_us = match (t0_us, spec.shape) {
        (Some(t0_us), _) => t0_us,
        (None, Shape::Single | Shape::Either) => t1_us,
        (None, Shape::Call) => {
            return Err(Fault::Field(
                Some(spec),
                FieldError { key: "t0", problem: crate::fields::Problem::Missing },
            ));
        }
    };
    if t0_us > t1_us {
        return Err(Fault::Times);
    }
    let number = |fields: &mut Fields<'_>, key| {
        let value = fields.number(key)?;
        u32::try_from(value).map_err(|_| FieldError::of(key, &value.to_string(), "a number of 32 bits"))
    };
    let cpu = number(fields, "cpu")?;
    let pid = number(fields, "pid")?;
    let comm = fields.parse("comm", "a task's name, at most 16 bytes", |raw| {
        if raw.contains('\\') { Comm::new(&unescape(raw)?) } else { Comm::new(raw) }
    })?;
    let mut event = (spec.build)(fields).map_err(|error| Fault::Field(Some(spec), error))?;
    if let Event::Mark { text } = &mut event
        && text.contains('\\')
    {
        *text = unescape(text).ok_or_else(|| FieldError::of("text", text, "a JSON string"))?;
    }
    Ok((Record { t0_us, t1_us, line: line as u32, pid, cpu, comm, event }, index))
}
