//! Where the least and the greatest are.
//!
//! The extreme of a block comes first, at the speed of memory; only a block that has a better one than all before, or
//! the same at what may be an earlier place, is searched for it.

use super::drive::Place;
use super::extremes::{Extreme, Limits};
use super::fold::Fold;
use super::load::{Load, Run, Work};
use super::{Options, Reduced, Scalar, reduce, require_elements};
use crate::error::{Error, Result};
use crate::kernel::{RawView, with_type};

/// Bytes of a block: many enough that putting its lanes together is little of the work, few enough for the cache.
const BLOCK: usize = 1 << 13;

/// The best element so far and its place; nothing before the first.
type Found<W> = Option<(W, isize)>;

type FoundOf<T> = Found<<T as Load>::Work>;

#[derive(Clone, Copy)]
struct ArgExtreme<const MAX: bool, const SKIP: bool>;

impl<const MAX: bool, const SKIP: bool> ArgExtreme<MAX, SKIP> {
    /// Whether `a` is better than `b`, whatever their places: NaN is better than all.
    #[inline(always)]
    fn beats<W: Work>(a: W, b: W) -> bool {
        Extreme::<MAX, SKIP>::beats(a, b) || (a.is_nan() && !b.is_nan())
    }

    #[inline(always)]
    fn take<W: Work>(acc: &mut Found<W>, value: W, index: isize) {
        if SKIP && value.is_nan() {
            return;
        }
        let better = acc
            .is_none_or(|(best, at)| Self::beats(value, best) || (index < at && !Self::beats(best, value)));
        if better {
            *acc = Some((value, index));
        }
    }
}

impl<W: Limits, const MAX: bool, const SKIP: bool> Fold<W> for ArgExtreme<MAX, SKIP> {
    type Acc = Found<W>;
    const INDEXED: bool = true;

    fn start(self) -> Found<W> {
        None
    }

    #[inline(always)]
    fn run(self, acc: &mut Found<W>, run: Run<W>, place: Place) {
        let mut from = 0_isize;
        for block in run.parts(BLOCK / size_of::<W>()) {
            let first = place.first + from * place.step;
            from += block.len().cast_signed();
            let last = first + (block.len().cast_signed() - 1) * place.step;
            let best = Extreme::<MAX, SKIP>::of_run(block);
            let better = acc.is_none_or(|(known, at)| {
                Self::beats(best, known) || (first.min(last) < at && !Self::beats(known, best))
            });
            if better {
                let same = |&value: &W| value == best || (value.is_nan() && best.is_nan());
                // The lowest place is the last one where places go down. Another writer may have taken it away.
                let found = if place.step < 0 {
                    (0..block.len()).rev().find(|&i| same(&block.get(i)))
                } else {
                    block.iter().position(|value| same(&value))
                };
                if let Some(i) = found {
                    Self::take(acc, best, first + i.cast_signed() * place.step);
                }
            }
        }
    }

    #[inline(always)]
    fn push(self, acc: &mut Found<W>, value: W, index: isize) {
        Self::take(acc, value, index);
    }

    fn merge(self, acc: &mut Found<W>, later: &Found<W>) {
        if let Some((value, index)) = *later {
            Self::take(acc, value, index);
        }
    }

    fn shift(self, acc: &mut Found<W>, by: isize) {
        if let Some((_, index)) = acc {
            *index += by;
        }
    }
}

fn arg_extreme<const MAX: bool>(view: &RawView, options: &Options) -> Result<Reduced> {
    require_elements(view, options, if MAX { "place of the maximum" } else { "place of the minimum" })?;
    let all_nan = || {
        Error::invalid_value(
            "there is nothing but NaN; look for it without `skip_nan`, which gives its place",
        )
    };
    with_type!(view.dtype, T => {
        let element = |acc: &FoundOf<T>| acc.map(|(_, index)| index as i64).ok_or_else(all_nan);
        let scalar = |acc: &FoundOf<T>| Ok(Scalar::Integer(i128::from(element(acc)?).into()));
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, i64>(view, options, ArgExtreme::<MAX, true>, scalar, element)
        } else {
            reduce::<T, _, i64>(view, options, ArgExtreme::<MAX, false>, scalar, element)
        }
    })
}

/// The place of the least element in the C order of what is reduced, as an int64: the first of equal ones.
///
/// The first NaN where there is one; with `skip_nan` they do not count, and the place is never that of one (numpy's
/// `nanargmin` gives it where infinity is the least).
///
/// # Errors
/// [`Error::InvalidValue`] for the minimum of nothing, or of nothing but NaN with `skip_nan`, or for an axis given twice;
/// [`Error::OutOfRange`] for an axis that the view has not; [`Error::TooLarge`] where the result does not fit into
/// memory; [`Error::Aborted`].
pub fn argmin(view: &RawView, options: &Options) -> Result<Reduced> {
    arg_extreme::<false>(view, options)
}

/// The place of the greatest element, as [`argmin`] gives that of the least.
///
/// # Errors
/// Those of [`argmin`].
pub fn argmax(view: &RawView, options: &Options) -> Result<Reduced> {
    arg_extreme::<true>(view, options)
}
