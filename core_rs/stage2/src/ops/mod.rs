//! The operations of `kvm_pgtable_stage2_*`, a file each.
//!
//! All round their range as upstream does: from the page of `ipa` to the end of the page of
//! `rounddown(ipa) + size - 1`. A range that leaves the IPA space is [`Errno::Range`](crate::Errno::Range)
//! before anything is walked.

mod age;
mod attributes;
mod fill;
mod flush;
mod free;
mod map;
mod split;
mod unmap;
