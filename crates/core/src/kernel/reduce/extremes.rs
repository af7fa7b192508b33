//! The least and the greatest.
//!
//! Comparisons on lanes, with NaN taken along by the same selection: nothing comes out of a lane that holds it. That is
//! as fast as memory; the crate `argminmax` takes slices, which would have to be copied from mapped memory first.

use super::drive::Place;
use super::fold::Fold;
use super::load::{Load, Run, Work};
use super::{Options, Reduced, Scalar, reduce, reduce_to, require_elements};
use crate::dtype::DType;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kernel::{RawView, Wide, with_type};

/// A type with a least and a greatest value.
pub(super) trait Limits: Work {
    const LEAST: Self;
    const GREATEST: Self;
    /// NaN where there is, else anything.
    const NAN: Self;
}

macro_rules! limits {
    ($($type:ty, $least:expr, $greatest:expr, $nan:expr;)*) => {$(
        impl Limits for $type {
            const LEAST: Self = $least;
            const GREATEST: Self = $greatest;
            const NAN: Self = $nan;
        }
    )*};
}
limits! {
    i8, Self::MIN, Self::MAX, 0;
    u8, Self::MIN, Self::MAX, 0;
    i16, Self::MIN, Self::MAX, 0;
    u16, Self::MIN, Self::MAX, 0;
    i32, Self::MIN, Self::MAX, 0;
    u32, Self::MIN, Self::MAX, 0;
    i64, Self::MIN, Self::MAX, 0;
    u64, Self::MIN, Self::MAX, 0;
    f32, Self::NEG_INFINITY, Self::INFINITY, Self::NAN;
    f64, Self::NEG_INFINITY, Self::INFINITY, Self::NAN;
}

/// The greatest element if `MAX`, else the least. Without `SKIP` NaN is more extreme than all; with it, less.
#[derive(Clone, Copy)]
pub(super) struct Extreme<const MAX: bool, const SKIP: bool>;

impl<const MAX: bool, const SKIP: bool> Extreme<MAX, SKIP> {
    /// Whether `a` is more extreme than `b`, where neither is NaN.
    #[inline(always)]
    pub(super) fn beats<W: Work>(a: W, b: W) -> bool {
        if MAX { a > b } else { a < b }
    }

    #[inline(always)]
    pub(super) fn of_two<W: Work>(a: W, b: W) -> W {
        let nan = W::FLOAT && if SKIP { a.is_nan() } else { b.is_nan() };
        if Self::beats(b, a) | nan { b } else { a }
    }

    #[inline(always)]
    pub(super) fn none<W: Limits>() -> W {
        match (W::FLOAT && SKIP, MAX) {
            (true, _) => W::NAN,
            (false, true) => W::LEAST,
            (false, false) => W::GREATEST,
        }
    }

    /// The extreme of a run.
    #[inline(always)]
    pub(super) fn of_run<W: Limits>(run: Run<W>) -> W {
        match size_of::<W>() {
            8 => Self::of_lanes::<W, 16>(run),
            4 => Self::of_lanes::<W, 32>(run),
            _ => Self::of_lanes::<W, 64>(run),
        }
    }

    #[inline(always)]
    fn of_lanes<W: Limits, const L: usize>(run: Run<W>) -> W {
        let mut best = [Self::none::<W>(); L];
        for values in run.lanes::<L>() {
            for (best, value) in best.iter_mut().zip(values) {
                *best = Self::of_two(*best, value);
            }
        }
        let best = best.into_iter().fold(Self::none(), |a, b| Self::of_two(a, b));
        run.rest::<L>().iter().fold(best, |a, b| Self::of_two(a, b))
    }
}

impl<W: Limits, const MAX: bool, const SKIP: bool> Fold<W> for Extreme<MAX, SKIP> {
    type Acc = W;

    fn start(self) -> W {
        Self::none()
    }

    #[inline(always)]
    fn run(self, acc: &mut W, run: Run<W>, _: Place) {
        *acc = Self::of_two(*acc, Self::of_run(run));
    }

    #[inline(always)]
    fn push(self, acc: &mut W, value: W, _: isize) {
        *acc = Self::of_two(*acc, value);
    }

    #[inline(always)]
    fn merge(self, acc: &mut W, later: &W) {
        *acc = Self::of_two(*acc, *later);
    }
}

/// Both at once.
#[derive(Clone, Copy)]
struct Both<const SKIP: bool>;

impl<const SKIP: bool> Both<SKIP> {
    /// The extremes of a run, in one look. NaN loses every comparison, each of which is one instruction so, and is looked for
    /// beside them.
    #[inline(always)]
    fn of_lanes<W: Limits, const L: usize>(run: Run<W>) -> (W, W) {
        let (mut least, mut greatest, mut nan) = ([W::GREATEST; L], [W::LEAST; L], [W::GREATEST; L]);
        let mut see = |lane: usize, value: W| {
            least[lane] = if value < least[lane] { value } else { least[lane] };
            greatest[lane] = if value > greatest[lane] { value } else { greatest[lane] };
            if W::FLOAT && !SKIP {
                nan[lane] = if value.is_nan() { value } else { nan[lane] };
            }
        };
        for values in run.lanes::<L>() {
            for (lane, value) in values.into_iter().enumerate() {
                see(lane, value);
            }
        }
        for (lane, value) in run.rest::<L>().iter().enumerate() {
            see(lane, value);
        }
        if let Some(&nan) = nan.iter().find(|value| value.is_nan()) {
            return (nan, nan);
        }
        let least = least.into_iter().fold(W::GREATEST, Extreme::<false, SKIP>::of_two);
        let greatest = greatest.into_iter().fold(W::LEAST, Extreme::<true, SKIP>::of_two);
        // Both are as they began only where no element was a number.
        if SKIP && W::FLOAT && least > greatest { (W::NAN, W::NAN) } else { (least, greatest) }
    }
}

impl<W: Limits, const SKIP: bool> Fold<W> for Both<SKIP> {
    type Acc = (W, W);

    fn start(self) -> (W, W) {
        (Extreme::<false, SKIP>::none(), Extreme::<true, SKIP>::none())
    }

    #[inline(always)]
    fn run(self, acc: &mut (W, W), run: Run<W>, _: Place) {
        let both = match size_of::<W>() {
            8 => Self::of_lanes::<W, 16>(run),
            4 => Self::of_lanes::<W, 32>(run),
            _ => Self::of_lanes::<W, 64>(run),
        };
        self.merge(acc, &both);
    }

    #[inline(always)]
    fn push(self, acc: &mut (W, W), value: W, _: isize) {
        self.merge(acc, &(value, value));
    }

    #[inline(always)]
    fn merge(self, acc: &mut (W, W), later: &(W, W)) {
        acc.0 = Extreme::<false, SKIP>::of_two(acc.0, later.0);
        acc.1 = Extreme::<true, SKIP>::of_two(acc.1, later.1);
    }
}

/// An element as a scalar.
pub(super) fn scalar<T: Load>(work: T::Work) -> Scalar {
    let value = T::back(work).widen();
    match (T::DTYPE, value) {
        (DType::Bool, Wide::Unsigned(value)) => Scalar::Bool(value != 0),
        _ => value.into(),
    }
}

fn extreme<const MAX: bool>(view: &RawView, options: &Options) -> Result<Reduced> {
    require_elements(view, options, if MAX { "maximum" } else { "minimum" })?;
    with_type!(view.dtype, T => {
        let (one, element) = (|&acc: &_| Ok(scalar::<T>(acc)), |&acc: &_| Ok(T::back(acc)));
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, T>(view, options, Extreme::<MAX, true>, one, element)
        } else {
            reduce::<T, _, T>(view, options, Extreme::<MAX, false>, one, element)
        }
    })
}

/// The least element, in the dtype of the view.
///
/// NaN where there is one. With `skip_nan` they do not count, and the result is NaN only where there is nothing else.
///
/// # Errors
/// [`Error::InvalidValue`] for the minimum of nothing, or for an axis given twice; [`Error::OutOfRange`] for an axis
/// that the view has not; [`Error::TooLarge`] where the result does not fit into memory; [`Error::Aborted`].
pub fn min(view: &RawView, options: &Options) -> Result<Reduced> {
    extreme::<false>(view, options)
}

/// The greatest element, in the dtype of the view; NaN as for [`min`].
///
/// # Errors
/// Those of [`min`].
pub fn max(view: &RawView, options: &Options) -> Result<Reduced> {
    extreme::<true>(view, options)
}

/// The least and the greatest element in one pass, as [`min`] and [`max`] give them.
///
/// # Errors
/// Those of [`min`].
pub fn minmax(view: &RawView, options: &Options) -> Result<(Reduced, Reduced)> {
    require_elements(view, options, "minimum and maximum")?;
    with_type!(view.dtype, T => {
        let one = |&(least, greatest): &_| Ok([scalar::<T>(least), scalar::<T>(greatest)]);
        let element = |&(least, greatest): &_| Ok([T::back(least), T::back(greatest)]);
        let [least, greatest] = if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce_to::<T, _, T, 2>(view, options, Both::<true>, one, element)
        } else {
            reduce_to::<T, _, T, 2>(view, options, Both::<false>, one, element)
        }?;
        Ok((least, greatest))
    })
}
