//! Sums.
//!
//! Floats are added as float64: in blocks of 128 elements on 16 lanes, and blocks are added with the error of each
//! addition kept beside the sum. So the error is that of one block, whatever the length: at most a dozen roundings,
//! where numpy's pairwise sum has 19 and one more each time the length doubles. Adding blocks pairwise instead would
//! be as fast (28 GB/s of 28 that the memory gives) and needs a stack of sums; keeping the error in each lane costs a
//! tenth. Integers are added exactly: in lanes as small as a run allows (16 bits for 8: 25 GB/s, against 7 for 64 bits
//! on a plain loop), then in 128 bits.

use super::drive::Place;
use super::fold::Fold;
use super::load::{Eight, Load, Run, Work};
use super::{Integer, Options, Reduced, Scalar, plain, reduce};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kernel::{Element, RawView, Wide, with_type};

/// Elements of a block of floats.
const BLOCK: usize = 128;
/// Columns that are added up in registers and the first-level cache.
const STRIP: usize = 1024;

/// A type that can be added up.
pub(super) trait Addend: Work {
    /// The sum of a few.
    type Part: Copy + Default + std::ops::AddAssign;
    /// The sum of all.
    type Total: Total;
    fn part(self) -> Self::Part;
    fn add(total: &mut Self::Total, part: Self::Part);
    fn eight(values: [Self; 8]) -> Self::Part;
    /// Adds a run, in which NaN counts as nothing where `SKIP` says so.
    fn add_run<const SKIP: bool>(total: &mut Self::Total, run: Run<Self>);
}

/// A sum of any length.
pub(super) trait Total: Clone + Send {
    fn zero() -> Self;
    fn add_total(&mut self, other: &Self);
    /// Counts elements that were left out.
    fn leave_out(&mut self, count: u64);
    fn left_out(&self) -> u64;
    /// The nearest double, or nearly.
    fn to_f64(&self) -> f64;
    fn scalar(&self) -> Scalar;
    /// As an element of an array.
    fn element<O: Element>(&self) -> Result<O>;
}

impl Total for i128 {
    fn zero() -> Self {
        0
    }
    #[inline(always)]
    fn add_total(&mut self, other: &Self) {
        *self += *other;
    }
    fn leave_out(&mut self, _: u64) {}
    fn left_out(&self) -> u64 {
        0
    }
    #[expect(clippy::cast_precision_loss, reason = "rounding once is what is wanted")]
    fn to_f64(&self) -> f64 {
        *self as f64
    }
    fn scalar(&self) -> Scalar {
        Scalar::Integer((*self).into())
    }
    fn element<O: Element>(&self) -> Result<O> {
        Integer::from(*self).to_element()
    }
}

/// A sum of floats, and what its roundings lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatTotal {
    sum: f64,
    lost: f64,
    left_out: u64,
}

impl FloatTotal {
    #[inline(always)]
    pub(super) fn add(&mut self, part: f64) {
        let sum = self.sum + part;
        let from_part = sum - self.sum;
        self.lost += (self.sum - (sum - from_part)) + (part - from_part);
        self.sum = sum;
    }
}

impl Total for FloatTotal {
    fn zero() -> Self {
        Self { sum: 0.0, lost: 0.0, left_out: 0 }
    }
    #[inline(always)]
    fn add_total(&mut self, other: &Self) {
        self.add(other.sum);
        self.lost += other.lost;
        self.left_out += other.left_out;
    }
    #[inline(always)]
    fn leave_out(&mut self, count: u64) {
        self.left_out += count;
    }
    fn left_out(&self) -> u64 {
        self.left_out
    }
    fn to_f64(&self) -> f64 {
        // Infinities leave nothing sensible in `lost`.
        plain(if self.lost.is_finite() { self.sum + self.lost } else { self.sum })
    }
    fn scalar(&self) -> Scalar {
        Scalar::Float(self.to_f64())
    }
    fn element<O: Element>(&self) -> Result<O> {
        Ok(O::narrow(Wide::Float(self.to_f64())))
    }
}

/// Adds up lanes pairwise.
#[inline(always)]
pub(super) fn add_lanes<const L: usize>(mut lanes: [f64; L]) -> f64 {
    let mut n = L;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
    }
    lanes[0]
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl Addend for $type {
            type Part = f64;
            type Total = FloatTotal;
            #[inline(always)]
            fn part(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn add(total: &mut FloatTotal, part: f64) {
                total.add(part);
            }
            #[inline(always)]
            fn eight(v: [Self; 8]) -> f64 {
                let [a, b, c, d, e, f, g, h] = v.map(f64::from);
                ((a + b) + (c + d)) + ((e + f) + (g + h))
            }
            #[inline(always)]
            fn add_run<const SKIP: bool>(total: &mut FloatTotal, run: Run<Self>) {
                for block in run.parts(BLOCK) {
                    let (mut sums, mut nans) = ([0.0_f64; 16], [0_u64; 16]);
                    let mut add = |lane: usize, value: Self| {
                        if SKIP {
                            nans[lane] += u64::from(value.is_nan());
                            sums[lane] += if value.is_nan() { 0.0 } else { f64::from(value) };
                        } else {
                            sums[lane] += f64::from(value);
                        }
                    };
                    for values in block.lanes::<16>() {
                        for (lane, value) in values.into_iter().enumerate() {
                            add(lane, value);
                        }
                    }
                    for (lane, value) in block.rest::<16>().iter().enumerate() {
                        add(lane & 15, value);
                    }
                    total.add(add_lanes(sums));
                    if SKIP {
                        total.leave_out(nans.iter().sum());
                    }
                }
            }
        }
    )*};
}
floats!(f32, f64);

/// Integers of up to 32 bits: the type that `$part` elements of each lane can be added up in, and that of eight.
macro_rules! small_integers {
    ($($type:ty, $lane:ty, $lanes:literal, $part:expr, $eight:ty;)*) => {$(
        impl Addend for $type {
            type Part = i64;
            type Total = i128;
            #[inline(always)]
            fn part(self) -> i64 {
                i64::from(self)
            }
            #[inline(always)]
            fn add(total: &mut i128, part: i64) {
                *total += i128::from(part);
            }
            #[inline(always)]
            fn eight(v: [Self; 8]) -> i64 {
                let [a, b, c, d, e, f, g, h] = v.map(<$eight>::from);
                i64::from(((a + b) + (c + d)) + ((e + f) + (g + h)))
            }
            #[inline(always)]
            fn add_run<const SKIP: bool>(total: &mut i128, run: Run<Self>) {
                let mut sum = 0_i64;
                for part in run.parts($part * $lanes) {
                    let mut lanes = [0 as $lane; $lanes];
                    for values in part.lanes::<$lanes>() {
                        for (lane, value) in lanes.iter_mut().zip(values) {
                            *lane += <$lane>::from(value);
                        }
                    }
                    sum += lanes.into_iter().map(i64::from).sum::<i64>();
                    sum += part.rest::<$lanes>().iter().map(i64::from).sum::<i64>();
                }
                *total += i128::from(sum);
            }
        }
    )*};
}
small_integers! {
    i8, i16, 64, 256, i16;
    u8, u16, 64, 256, u16;
    i16, i32, 32, 1024, i32;
    u16, i32, 32, 1024, i32;
    i32, i64, 16, 2048, i64;
    u32, i64, 16, 2048, i64;
}

/// Integers of 64 bits: their halves are added up by themselves.
macro_rules! large_integers {
    ($($type:ty, $flip:expr;)*) => {$(
        impl Addend for $type {
            type Part = i128;
            type Total = i128;
            #[inline(always)]
            fn part(self) -> i128 {
                i128::from(self)
            }
            #[inline(always)]
            fn add(total: &mut i128, part: i128) {
                *total += part;
            }
            #[inline(always)]
            fn eight(v: [Self; 8]) -> i128 {
                v.into_iter().map(i128::from).sum()
            }
            #[inline(always)]
            #[expect(clippy::allow_attributes, reason = "not every row of the table wraps")]
            #[allow(clippy::cast_sign_loss, reason = "the same bits")]
            fn add_run<const SKIP: bool>(total: &mut i128, run: Run<Self>) {
                // Moved up by 2^63 a signed number is an unsigned one.
                let (mut low, mut high) = ([0_u64; 8], [0_u64; 8]);
                for values in run.lanes::<8>() {
                    for (lane, value) in values.into_iter().enumerate() {
                        let bits = value as u64 ^ $flip;
                        low[lane] += bits & 0xffff_ffff;
                        high[lane] += bits >> 32;
                    }
                }
                let whole = |lanes: [u64; 8]| i128::from(lanes.into_iter().sum::<u64>());
                let flipped = (run.len() / 8 * 8) as i128 * i128::from($flip);
                *total += whole(low) + (whole(high) << 32) - flipped;
                *total += run.rest::<8>().iter().map(i128::from).sum::<i128>();
            }
        }
    )*};
}
large_integers! {
    i64, 1_u64 << 63;
    u64, 0_u64;
}

/// The sum, without NaN where `SKIP` says so.
#[derive(Clone, Copy)]
pub(super) struct Sum<const SKIP: bool>;

impl<W: Addend, const SKIP: bool> Fold<W> for Sum<SKIP> {
    type Acc = W::Total;

    fn start(self) -> Self::Acc {
        W::Total::zero()
    }

    #[inline(always)]
    fn run(self, acc: &mut Self::Acc, run: Run<W>, _: Place) {
        W::add_run::<SKIP>(acc, run);
    }

    #[inline(always)]
    fn push(self, acc: &mut Self::Acc, value: W, _: isize) {
        if SKIP && value.is_nan() {
            acc.leave_out(1);
        } else {
            W::add(acc, value.part());
        }
    }

    /// Eight rows at a time, so that sums are loaded and stored once for eight elements.
    #[inline(always)]
    fn rows(self, accs: &mut [Self::Acc], rows: &[(Run<W>, isize)]) {
        if SKIP {
            for &(row, index) in rows {
                for (acc, value) in accs.iter_mut().zip(row.iter()) {
                    self.push(acc, value, index);
                }
            }
            return;
        }
        for (strip, accs) in accs.chunks_mut(STRIP).enumerate() {
            let mut sums = [W::Part::default(); STRIP];
            let sums = &mut sums[..accs.len()];
            let (eights, rest) = rows.as_chunks::<8>();
            for eight in eights {
                let part = Eight::of(eight.map(|(row, _)| row.part(strip * STRIP, STRIP)));
                for (sum, values) in sums.iter_mut().zip(part.columns()) {
                    *sum += W::eight(values);
                }
            }
            for &(row, _) in rest {
                for (sum, value) in sums.iter_mut().zip(row.part(strip * STRIP, STRIP).iter()) {
                    *sum += value.part();
                }
            }
            for (acc, &sum) in accs.iter_mut().zip(sums.iter()) {
                W::add(acc, sum);
            }
        }
    }

    #[inline(always)]
    fn merge(self, acc: &mut Self::Acc, later: &Self::Acc) {
        acc.add_total(later);
    }
}

/// The sum.
///
/// Floats are added as float64, into a float64. Integers are added exactly: to an [`Integer`], or with axes to int64,
/// or uint64 for unsigned ones. The sum of nothing is 0.
///
/// # Errors
/// [`Error::OutOfRange`] for an axis that the view has not, and with axes where an integer does not fit;
/// [`Error::InvalidValue`] for an axis given twice; [`Error::TooLarge`] where the result does not fit into memory;
/// [`Error::Aborted`].
pub fn sum(view: &RawView, options: &Options) -> Result<Reduced> {
    with_type!(view.dtype, T => {
        let (scalar, element) = (|acc: &TotalOf<T>| Ok(acc.scalar()), TotalOf::<T>::element);
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, <T as Load>::Sum>(view, options, Sum::<true>, scalar, element)
        } else {
            reduce::<T, _, <T as Load>::Sum>(view, options, Sum::<false>, scalar, element)
        }
    })
}

/// The sum of elements of `T`.
pub(super) type TotalOf<T> = <<T as Load>::Work as Addend>::Total;
