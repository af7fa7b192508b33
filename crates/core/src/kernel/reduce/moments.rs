//! Means, variances and standard deviations.
//!
//! The variance is made in one pass over memory and is stable: distances are taken from the mean of the elements before,
//! or of the first block, and blocks of 512 elements (2048 of 32 bits) are put together by Chan's formula. What cancels out within a
//! block comes back as the distance of its mean, so the error stays that of some hundred roundings at worst, wherever
//! the elements lie; equal ones have variance 0. Looking at each block twice, in the cache, is no more exact than that
//! and half as fast. Integers of 8 and 16 bits give their sums and squares exactly.

use super::drive::Place;
use super::fold::Fold;
use super::load::{Load, Run, Work};
use super::simd::{Kernel, dispatch};
use super::sum::{Addend, Sum, Total, TotalOf, add_lanes};
use super::{Options, Reduced, Scalar, plain, reduce};
use crate::dtype::DType;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kernel::{RawView, with_type};

/// Elements of a block: more where they have so few digits that what adding them up loses is less, and putting blocks
/// together is half of the work.
const fn block_of<W>() -> usize {
    if size_of::<W>() > 4 { 512 } else { 2048 }
}
/// Sums that are made side by side.
const LANES: usize = 16;
/// Columns whose rows are looked at twice in the cache.
const STRIP: usize = 256;

/// The number of elements, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: u64,
    /// A value near the mean, and what it lacks: one number would lose the small differences between the means of blocks
    /// that are far from zero.
    base: f64,
    rest: f64,
    squares: f64,
}

impl Moments {
    /// Those of elements whose distances from `shift` add up to `rest`, and their squares to `squares`.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "blocks are short")]
    fn of(count: u64, shift: f64, rest: f64, squares: f64) -> Self {
        let mean = rest / count as f64;
        // Squares that overflow stay infinite.
        let squares = if squares.is_infinite() { squares } else { squares - rest * mean };
        Self { count, base: shift, rest: mean, squares }
    }

    fn mean(&self) -> f64 {
        self.base + self.rest
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "counts of elements in memory are less than 2^53")]
    fn add(&mut self, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        // Bases are elements or means of blocks, so their difference is exact wherever it is small.
        let (count, apart) = (own + others, (other.base - self.base) + (other.rest - self.rest));
        self.rest += apart * (others / count);
        self.squares += other.squares + apart * apart * (own * (others / count));
        self.count += other.count;
    }

    /// The variance, where `less` is taken from the count.
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    fn variance(&self, less: f64) -> f64 {
        plain(self.squares / (self.count as f64 - less).max(0.0))
    }
}

/// A type that has a mean.
pub(super) trait Spread: Addend {
    fn double(self) -> f64;
    /// Adds a run, without NaN where `SKIP` says so.
    fn spread_run<const SKIP: bool>(acc: &mut Moments, run: Run<Self>);
}

/// Adds a run in blocks, whose distances are taken from the mean of what came before.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "blocks are short")]
fn spread_blocks<W: Spread, const SKIP: bool>(acc: &mut Moments, run: Run<W>) {
    let mut shift = (acc.count > 0).then(|| acc.mean());
    for block in run.parts(block_of::<W>()) {
        let nans = if SKIP { block.iter().filter(|value| value.is_nan()).count() } else { 0 };
        let count = block.len() - nans;
        let from = shift.unwrap_or_else(|| {
            let first = block.iter().find(|value| !(SKIP && value.is_nan())).map_or(0.0, W::double);
            first + sums_of::<W, SKIP>(block, first).0 / count as f64
        });
        if count > 0 {
            shift = Some(from);
            let (sum, mut squares) = sums_of::<W, SKIP>(block, from);
            // Infinities have no distance, not even from themselves; finite ones whose squares overflow have.
            if !squares.is_finite() && block.iter().any(|value| value.double().is_infinite()) {
                squares = f64::NAN;
            }
            acc.add(&Moments::of(count as u64, from, sum, squares));
        }
    }
}

/// The sum of the distances of elements from `from`, and that of their squares.
#[inline(always)]
fn sums_of<W: Spread, const SKIP: bool>(block: Run<W>, from: f64) -> (f64, f64) {
    // Apart, because what is around it makes the compiler use half of each register.
    dispatch(Sums::<W, SKIP> { block, from })
}

struct Sums<'a, W, const SKIP: bool> {
    block: Run<'a, W>,
    from: f64,
}

impl<W: Spread, const SKIP: bool> Kernel for Sums<'_, W, SKIP> {
    type Output = (f64, f64);

    #[inline(always)]
    fn call(self) -> (f64, f64) {
        let Self { block, from } = self;
        let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
        let mut add = |lane: usize, value: W| {
            let distance = if SKIP && value.is_nan() { 0.0 } else { value.double() - from };
            sums[lane] += distance;
            squares[lane] += distance * distance;
        };
        for values in block.lanes::<LANES>() {
            for (lane, value) in values.into_iter().enumerate() {
                add(lane, value);
            }
        }
        for (lane, value) in block.rest::<LANES>().iter().enumerate() {
            add(lane & (LANES - 1), value);
        }
        (add_lanes(sums), add_lanes(squares))
    }
}

macro_rules! as_doubles {
    ($($type:ty),*) => {$(
        impl Spread for $type {
            #[inline(always)]
            #[expect(clippy::allow_attributes, reason = "not every row of the table rounds")]
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "rounding is what is wanted")]
            fn double(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn spread_run<const SKIP: bool>(acc: &mut Moments, run: Run<Self>) {
                spread_blocks::<Self, SKIP>(acc, run);
            }
        }
    )*};
}
as_doubles!(i32, u32, i64, u64, f32, f64);

/// `$square` holds the square of an element, and sums of as many as there are in a run.
macro_rules! exactly {
    ($($type:ty, $sum:ty, $square:ty;)*) => {$(
        impl Spread for $type {
            #[inline(always)]
            fn double(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            #[expect(clippy::cast_precision_loss, reason = "rounding once is what is wanted")]
            fn spread_run<const SKIP: bool>(acc: &mut Moments, run: Run<Self>) {
                let (mut sum, mut squares) = (0 as $sum, 0 as $square);
                for value in run.iter() {
                    sum += <$sum>::from(value);
                    squares += <$square>::from(value) * <$square>::from(value);
                }
                let (count, sum) = (run.len() as i128, i128::from(sum));
                let squares = count * i128::from(squares) - sum * sum;
                acc.add(&Moments {
                    count: run.len() as u64,
                    base: sum as f64 / count as f64,
                    rest: 0.0,
                    squares: squares as f64 / count as f64,
                });
            }
        }
    )*};
}
exactly! {
    i8, i32, i32;
    u8, i32, i32;
    i16, i32, i64;
    u16, i32, i64;
}

#[derive(Clone, Copy)]
struct Variance<const SKIP: bool>;

impl<W: Spread, const SKIP: bool> Fold<W> for Variance<SKIP> {
    type Acc = Moments;

    fn start(self) -> Moments {
        Moments::default()
    }

    #[inline(always)]
    fn run(self, acc: &mut Moments, run: Run<W>, _: Place) {
        W::spread_run::<SKIP>(acc, run);
    }

    #[inline(always)]
    fn push(self, acc: &mut Moments, value: W, _: isize) {
        if !(SKIP && value.is_nan()) {
            let base = value.double();
            // Infinities have no distance, not even from themselves.
            acc.add(&Moments {
                count: 1,
                base,
                rest: 0.0,
                squares: if base.is_finite() { 0.0 } else { f64::NAN },
            });
        }
    }

    /// As blocks are, each column by itself.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "there are few rows")]
    fn rows(self, accs: &mut [Moments], rows: &[(Run<W>, isize)]) {
        let (&[(first, _), ..], false) = (rows, SKIP) else {
            for &(row, index) in rows {
                for (acc, value) in accs.iter_mut().zip(row.iter()) {
                    self.push(acc, value, index);
                }
            }
            return;
        };
        let count = rows.len() as f64;
        for (strip, accs) in accs.chunks_mut(STRIP).enumerate() {
            let from = strip * STRIP;
            let mut means = [0.0; STRIP];
            for &(row, _) in rows {
                for ((mean, value), first) in
                    means.iter_mut().zip(row.part(from, STRIP).iter()).zip(first.part(from, STRIP).iter())
                {
                    *mean += value.double() - first.double();
                }
            }
            for (mean, first) in means.iter_mut().zip(first.part(from, STRIP).iter()) {
                *mean = first.double() + *mean / count;
            }
            let (mut rest, mut squares) = ([0.0; STRIP], [0.0; STRIP]);
            for &(row, _) in rows {
                let columns = rest.iter_mut().zip(&mut squares).zip(&means);
                for (((rest, squares), mean), value) in columns.zip(row.part(from, STRIP).iter()) {
                    let distance = value.double() - mean;
                    *rest += distance;
                    *squares += distance * distance;
                }
            }
            for (((acc, mean), rest), squares) in accs.iter_mut().zip(means).zip(rest).zip(squares) {
                acc.add(&Moments::of(rows.len() as u64, mean, rest, squares));
            }
        }
    }

    #[inline(always)]
    fn merge(self, acc: &mut Moments, later: &Moments) {
        acc.add(later);
    }
}

/// The mean, as a float64: the sum divided by the number of elements. The mean of nothing is NaN.
///
/// # Errors
/// [`Error::OutOfRange`] for an axis that the view has not; [`Error::InvalidValue`] for an axis given twice;
/// [`Error::TooLarge`] where the result does not fit into memory; [`Error::Aborted`].
#[expect(clippy::cast_precision_loss, reason = "counts of elements in memory are less than 2^53")]
pub fn mean(view: &RawView, options: &Options) -> Result<Reduced> {
    let axes = super::Axes::new(options.axes, view.shape.len())?;
    let count = axes.reduced_len(&view.shape) as u64;
    with_type!(view.dtype, T => {
        let mean = |acc: &TotalOf<T>| plain(acc.to_f64() / (count - acc.left_out()) as f64);
        let (scalar, element) = (|acc: &TotalOf<T>| Ok(Scalar::Float(mean(acc))), |acc: &TotalOf<T>| Ok(mean(acc)));
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, f64>(view, options, Sum::<true>, scalar, element)
        } else {
            reduce::<T, _, f64>(view, options, Sum::<false>, scalar, element)
        }
    })
}

/// The variance, as a float64: the squares of the distances from the mean, added and divided by the number of elements
/// less `ddof`.
///
/// Where that number is not positive the result is NaN, or infinite with a distance, as in numpy; with `skip_nan` it is
/// always NaN.
///
/// # Errors
/// Those of [`mean`].
pub fn var(view: &RawView, ddof: f64, options: &Options) -> Result<Reduced> {
    spread(view, options, move |acc| acc.variance(ddof), ddof)
}

/// The standard deviation, as a float64: the square root of [`var`].
///
/// # Errors
/// Those of [`mean`].
pub fn std(view: &RawView, ddof: f64, options: &Options) -> Result<Reduced> {
    spread(view, options, move |acc| acc.variance(ddof).sqrt(), ddof)
}

#[expect(clippy::cast_precision_loss, reason = "counts of elements in memory are less than 2^53")]
fn spread(
    view: &RawView,
    options: &Options,
    of: impl Fn(&Moments) -> f64 + Copy + Sync,
    ddof: f64,
) -> Result<Reduced> {
    let skip = options.skip_nan
        && matches!(view.dtype, DType::Float16 | DType::Bfloat16 | DType::Float32 | DType::Float64);
    let of = move |acc: &Moments| if skip && acc.count as f64 <= ddof { f64::NAN } else { of(acc) };
    let (scalar, element) =
        (move |acc: &Moments| Ok(Scalar::Float(of(acc))), move |acc: &Moments| Ok(of(acc)));
    with_type!(view.dtype, T => {
        if skip && <T as Load>::Work::FLOAT {
            reduce::<T, _, f64>(view, options, Variance::<true>, scalar, element)
        } else {
            reduce::<T, _, f64>(view, options, Variance::<false>, scalar, element)
        }
    })
}
