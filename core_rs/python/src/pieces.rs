//! A long range in pieces, so that Ctrl-C can stop between two of them.

use stage2::Geometry;

/// Pages of a piece: as many as one range invalidation covers (Arm ARM, TLBI RIPAS2E1), so that working in
/// pieces costs no invalidation that the whole would not have. The slowest operation is through a piece
/// in less than 100 ms.
const PIECE_PAGES: u64 = 1 << 21;

/// Where pieces begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At multiples of the piece, so that no block is cut in two.
    Aligned,
    /// At multiples of the piece after the start, as range invalidations are cut.
    FromStart,
}

/// The pieces of the range that upstream would walk for `ipa` and `size`. A range that fits one piece, and
/// one that upstream refuses, is left as it is.
pub(crate) fn pieces(geometry: &Geometry, ipa: u64, size: u64, cut: Cut) -> Vec<(u64, u64)> {
    let page = geometry.page_size();
    let piece = PIECE_PAGES * page;
    let start = ipa & !(page - 1);
    let end = start.checked_add(size).and_then(|end| end.checked_next_multiple_of(page));
    let Some(end) = end.filter(|end| *end <= 1 << geometry.ipa_bits() && size > piece) else {
        return vec![(ipa, size)];
    };
    let first = match cut {
        Cut::Aligned => (start + 1).next_multiple_of(piece),
        Cut::FromStart => start + piece,
    };
    let mut pieces = vec![(start, first.min(end) - start)];
    let mut at = first;
    while at < end {
        pieces.push((at, piece.min(end - at)));
        at += piece;
    }
    pieces
}
