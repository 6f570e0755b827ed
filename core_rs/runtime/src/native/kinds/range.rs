//! A lock of address ranges, as a what-if.
//!
//! Guarantee: of two acquisitions whose ranges touch one span of 2 MiB, and one of which is for write, one waits for
//! the other. It is a [queued rwlock](super::qrw) for each of [`STRIPES`] groups of spans; which group a span belongs to is a hash of its number, so that threads at equal distances do not meet for ever. A range of many
//! spans takes each of its groups, in ascending order, so two ranges never wait for each other in a circle.
//!
//! Not guaranteed: that whoever holds a range is alone with what all ranges share, see [`Range`](super::Range).

use super::mcs::Nodes;
use super::qrw::Cell;
use super::raw::{Raw, Span};
use super::sync::AtomicU32;

/// The bytes of a span, 2 MiB, as a power of two.
const SPAN_BITS: u32 = 21;

/// Groups of spans that are told apart.
const STRIPES: usize = 1 << super::STRIPE_BITS;

#[repr(align(128))]
struct Stripe(Cell);

/// Groups, a bit each.
type Mask = u64;

const EVERY: Mask = Mask::MAX >> (Mask::BITS as usize - STRIPES);

/// A rwlock of address ranges.
pub struct RangeLock {
    stripes: Box<[Stripe]>,
    nodes: Nodes,
}

impl RangeLock {
    pub(super) fn new(threads: usize) -> Self {
        Self { stripes: (0..STRIPES).map(|_| Stripe(Cell::new())).collect(), nodes: Nodes::new(threads) }
    }

    fn of(&self, mask: Mask) -> impl Iterator<Item = &Cell> {
        bits(mask).map(|stripe| &self.stripes[stripe].0)
    }

    /// Takes every stripe of `mask`, or none.
    #[inline]
    fn try_each(&self, mask: Mask, take: fn(&Cell) -> bool, give_back: fn(&Cell)) -> Option<Mask> {
        let mut taken = 0;
        for stripe in bits(mask) {
            if !take(&self.stripes[stripe].0) {
                self.of(taken).for_each(give_back);
                return None;
            }
            taken |= 1 << stripe;
        }
        Some(mask)
    }
}

/// The numbers of the bits of `mask`, ascending.
fn bits(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (lowest < Mask::BITS).then_some(lowest as usize)
    })
}

/// The groups that a range touches; one without addresses touches that of its start.
#[inline]
pub(super) fn mask(span: Span) -> Mask {
    let first = span.start >> SPAN_BITS;
    let last = span.start.saturating_add(span.size.max(1) - 1) >> SPAN_BITS;
    if last - first >= 4 * STRIPES as u64 {
        return EVERY;
    }
    (first..=last).fold(0, |mask, span| mask | 1 << stripe(span))
}

/// The group of a span: the upper bits of a Fibonacci hash.
#[inline]
fn stripe(span: u64) -> u32 {
    (span.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - super::STRIPE_BITS)) as u32
}

impl Raw for RangeLock {
    type Read = Mask;
    type Write = Mask;

    #[inline]
    fn try_read(&self, span: Span) -> Option<Mask> {
        self.try_each(mask(span), Cell::try_read, Cell::unlock_read)
    }

    fn read(&self, span: Span) -> Mask {
        self.of(mask(span)).for_each(|cell| {
            if !cell.try_read() {
                cell.read(&self.nodes);
            }
        });
        mask(span)
    }

    #[inline]
    fn unlock_read(&self, held: Mask) {
        self.of(held).for_each(Cell::unlock_read);
    }

    #[inline]
    fn try_write(&self, span: Span) -> Option<Mask> {
        self.try_each(mask(span), Cell::try_write, Cell::unlock_write)
    }

    fn write(&self, span: Span) -> Mask {
        self.of(mask(span)).for_each(|cell| {
            if !cell.try_write() {
                cell.write(&self.nodes);
            }
        });
        mask(span)
    }

    #[inline]
    fn unlock_write(&self, held: Mask) {
        self.of(held).for_each(Cell::unlock_write);
    }

    /// That of the first stripe.
    #[inline]
    fn last(&self, _writes: bool, span: Span) -> Option<&AtomicU32> {
        self.of(mask(span)).next().map(|cell| &cell.last)
    }
}
