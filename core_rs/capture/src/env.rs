//! `env.json`: what a trace cannot say about the machine it was recorded on.
//!
//! Stage-2 descriptors depend on features that `VTCR_EL2` does not show (FWB, XNX, TLBI by range), and the
//! meaning of a probe's `prot` on the kernel's version. Both stand in the kernel's log.

use std::collections::BTreeMap;

use serde_json::Value;
use stage2::Prot;

use crate::error::{Blame, CaptureError, quote};
use crate::text::Text;

/// The machine and the kernel of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // features of a machine are independent of each other
pub struct Environment {
    /// The kernel's banner, `Linux version ...`.
    pub kernel: String,
    /// Its major and minor version.
    pub version: (u32, u32),
    /// `FEAT_S2FWB` ("Stage-2 Force Write-Back").
    pub fwb: bool,
    /// `FEAT_TLBIRANGE` ("TLB range maintenance instructions").
    pub tlb_range: bool,
    /// `FEAT_XNX` ("XNX").
    pub xnx: bool,
    /// The processor sets access flags ("Hardware dirty bit management", which includes it).
    pub hardware_af: bool,
    /// Events that the recorder counted as dropped, by scenario.
    pub dropped_events: BTreeMap<String, u64>,
    /// Records in the packed file of each scenario, where it says so.
    pub ops_records: BTreeMap<String, u64>,
}

/// What `env.json` must hold, for messages.
pub(crate) const EXPECTED: &str = "env.json with `kernel` (the banner, Linux version ...) and `dmesg_kvm` \
     (the log's lines `CPU features: detected: ...`): they say FWB, TLBI range and XNX, and what prot means";

/// Reads `env.json`; `name` stands in the messages.
///
/// ```
/// let text = br#"{"kernel": "Linux version 6.12.57 (gcc)", "dmesg_kvm": ["CPU features: detected: Stage-2 Force Write-Back"]}"#;
/// let env = capture::parse_environment(text, "env.json")?;
/// assert!(env.fwb && !env.xnx);
/// assert_eq!(env.version, (6, 12));
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn parse_environment(bytes: &[u8], name: &str) -> Result<Environment, CaptureError> {
    let blame = Blame { file: name, what: "the env.json of a capture" };
    let text = Text::read(bytes, blame)?;
    let root: Value = serde_json::from_str(text.as_str()).map_err(|error| {
        let cause = format!("it is not JSON: {error}");
        if error.is_eof() {
            blame.cut(error.line(), cause, EXPECTED)
        } else {
            blame.format(error.line(), cause, EXPECTED)
        }
    })?;
    let odd = |cause: String| blame.format(1, cause, EXPECTED);

    let kernel =
        root.get("kernel").and_then(Value::as_str).ok_or_else(|| odd("it has no string `kernel`".into()))?;
    let version = version(kernel).ok_or_else(|| odd(format!("`kernel` is {}", quote(kernel))))?;
    let log = root.get("dmesg_kvm").and_then(Value::as_array);
    let log = log.and_then(|lines| lines.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let log = log.ok_or_else(|| odd("it has no list of strings `dmesg_kvm`".into()))?;
    if !log.iter().any(|line| line.contains(DETECTED)) {
        return Err(odd(format!("no line of `dmesg_kvm` says `{DETECTED}...`")));
    }
    let has = |feature: &str| {
        log.iter().filter_map(|line| line.split_once(DETECTED)).any(|(_, name)| {
            name.trim_end() == feature
                || name.strip_prefix(feature).is_some_and(|rest| rest.starts_with(" on CPU"))
        })
    };
    let counts = |key: &str| match root.get(key) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(value) => value
            .as_object()
            .and_then(|counts| counts.iter().map(|(name, n)| Some((name.clone(), n.as_u64()?))).collect())
            .ok_or_else(|| odd(format!("`{key}` is not an object of counts"))),
    };
    Ok(Environment {
        kernel: kernel.to_owned(),
        version,
        fwb: has("Stage-2 Force Write-Back"),
        tlb_range: has("TLB range maintenance instructions"),
        xnx: has("XNX"),
        hardware_af: has("Hardware dirty bit management"),
        dropped_events: counts("dropped_events")?,
        ops_records: counts("ops_records")?,
    })
}

const DETECTED: &str = "CPU features: detected: ";

/// `Linux version 7.3.4+deb13-cloud-arm64 (...)`.
fn version(banner: &str) -> Option<(u32, u32)> {
    let release = banner.strip_prefix("Linux version ")?.split(' ').next()?;
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Environment {
    /// Whether execute permission is apart for EL1 and EL0 in `prot`: since the kernel knows `FEAT_XNX` at
    /// stage 2 (6.19).
    fn splits_execute(&self) -> bool {
        self.version >= (6, 19)
    }

    /// What a probe's `prot` means; `None` when it has bits that this kernel does not know.
    ///
    /// 6.12 numbers `X=1 W=2 R=4 DEVICE=8 NORMAL_NC=0x10`; 7.3 `PX=1 UX=2 W=4 R=8 DEVICE=0x10 NORMAL_NC=0x20`.
    pub fn prot(&self, bits: u64) -> Option<Prot> {
        const X: u64 = 1;
        if self.splits_execute() {
            return Prot::from_bits(bits);
        }
        let software = bits & Prot::SW.bits();
        let execute = if bits & X == 0 { Prot::empty() } else { Prot::X };
        let rest = Prot::from_bits((bits & !software & !X) << 1)?;
        (!rest.intersects(Prot::X)).then_some(execute | rest | Prot::from_bits(software)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(kernel: &str) -> Environment {
        let text = format!("{{\"kernel\":\"Linux version {kernel}\",\"dmesg_kvm\":[\"{DETECTED}XNX\"]}}");
        parse_environment(text.as_bytes(), "env.json").unwrap()
    }

    #[test]
    fn prot_bits_mean_what_the_kernel_of_the_capture_means() {
        let (old, new) = (env("6.12.57 (gcc)"), env("7.3.4+deb13 (gcc)"));
        assert_eq!(old.prot(0x7), Some(Prot::X | Prot::W | Prot::R));
        assert_eq!(new.prot(0xf), Some(Prot::X | Prot::W | Prot::R));
        assert_eq!(old.prot(0xe), Some(Prot::W | Prot::R | Prot::DEVICE));
        assert_eq!(new.prot(0x1c), Some(Prot::W | Prot::R | Prot::DEVICE));
        assert_eq!(old.prot(0x10 | 1 << 55), Some(Prot::NORMAL_NC | Prot::SW0));
        assert_eq!(old.prot(0x20), None);
        assert_eq!(new.prot(0x40), None);
    }

    #[test]
    fn a_feature_is_not_taken_for_one_whose_name_begins_like_it() {
        let text = format!("{{\"kernel\":\"Linux version 7.3.4\",\"dmesg_kvm\":[\"{DETECTED}XNXtra\"]}}");
        assert!(!parse_environment(text.as_bytes(), "env.json").unwrap().xnx);
    }
}
