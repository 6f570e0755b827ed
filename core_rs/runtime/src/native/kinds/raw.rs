//! What the locks of our own have in common, and what their loom tests are written against.

use super::sync::AtomicU32;

/// The addresses that an acquisition is about; a lock without ranges takes them for all.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub(super) start: u64,
    pub(super) size: u64,
}

/// A reader-writer lock whose holder keeps a token, to give it back once.
pub trait Raw {
    /// What a reader keeps.
    type Read: Copy;
    /// What a writer keeps.
    type Write: Copy;

    /// Takes it for read if that needs no waiting.
    fn try_read(&self, span: Span) -> Option<Self::Read>;
    /// Takes it for read.
    fn read(&self, span: Span) -> Self::Read;
    /// Ends what the token stands for.
    fn unlock_read(&self, held: Self::Read);
    /// Takes it for write if that needs no waiting.
    fn try_write(&self, span: Span) -> Option<Self::Write>;
    /// Takes it for write.
    fn write(&self, span: Span) -> Self::Write;
    /// Ends what the token stands for.
    fn unlock_write(&self, held: Self::Write);
    /// Where it stands who took it last, in a line that every taker writes; none where takers share no line.
    fn last(&self, writes: bool, span: Span) -> Option<&AtomicU32>;
}
