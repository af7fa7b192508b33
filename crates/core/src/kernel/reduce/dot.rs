//! Products of vectors.
//!
//! Each row along the last axis with one vector: the walk of a sum over that axis, with a second operand. Products of
//! floats are made and added as float64, with the error of each block kept as in a sum; a vector that meets many rows is
//! made float64 once. For 512,000 rows of 384 float32 that takes 61 ms of one processor, where numpy's BLAS and its search
//! for the best ten take 75. Integers are exact. The crate simsimd was not taken: it compiles C for each target, and its
//! functions take slices, which mapped memory must not be given as. It was not measured.

use std::marker::PhantomData;

use half::{bf16, f16};

use super::drive::Place;
use super::fold::{Fold, Folding, Recipe};
use super::load::{Eight, Load, Run, Source, Work};
use super::pair::{Second, in_line, repeated, require_same_dtype, require_vector};
use super::plan::Order;
use super::sum::{FloatTotal, Total, add_lanes};
use super::{Integer, Options, Reduced, Scalar, results};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kernel::{Bool, Element, RawView, with_type};

/// Elements of a block of floats: products of two float32 have no more digits than a float64, so blocks of them may be
/// longer than putting their lanes together takes.
const fn block_of<W>() -> usize {
    if size_of::<W>() > 4 { 128 } else { 512 }
}
/// Columns that are added up in registers and the first-level cache.
const STRIP: usize = 512;

/// The `N` numbers that are added up for each pair of elements.
pub(super) trait Term<const N: usize>: Copy + Send + Sync + 'static {
    fn of(a: f64, b: f64) -> [f64; N];
}

/// The product.
#[derive(Clone, Copy)]
pub(super) struct Product;

impl Term<1> for Product {
    #[inline(always)]
    fn of(a: f64, b: f64) -> [f64; 1] {
        [a * b]
    }
}

/// `N` sums over pairs of floats, the second one of which is read as `V`.
#[derive(Clone, Copy)]
pub(super) struct Pairs<M, V, const N: usize> {
    other: Second,
    term: PhantomData<(M, V)>,
}

impl<M: Term<N>, V: Work, const N: usize> Pairs<M, V, N> {
    pub(super) fn with(other: Second) -> Self {
        Self { other, term: PhantomData }
    }
}

impl<W, V, M, const N: usize> Fold<W> for Pairs<M, V, N>
where
    W: Work + Into<f64>,
    V: Work + Into<f64>,
    M: Term<N>,
{
    type Acc = [FloatTotal; N];
    const INDEXED: bool = true;

    fn start(self) -> Self::Acc {
        [FloatTotal::zero(); N]
    }

    #[inline(always)]
    fn run(self, acc: &mut Self::Acc, run: Run<W>, place: Place) {
        self.other.zip::<W, V>(run, place, |a, b| {
            for (a, b) in a.parts(block_of::<W>()).zip(b.parts(block_of::<W>())) {
                let mut sums = [[0.0; 16]; N];
                let mut add = |lane: usize, a: W, b: V| {
                    for (sums, term) in sums.iter_mut().zip(M::of(a.into(), b.into())) {
                        sums[lane] += term;
                    }
                };
                for (a, b) in a.lanes::<16>().zip(b.lanes::<16>()) {
                    for (lane, (a, b)) in a.into_iter().zip(b).enumerate() {
                        add(lane, a, b);
                    }
                }
                for (lane, (a, b)) in a.rest::<16>().iter().zip(b.rest::<16>().iter()).enumerate() {
                    add(lane & 15, a, b);
                }
                for (acc, sums) in acc.iter_mut().zip(sums) {
                    acc.add(add_lanes(sums));
                }
            }
        });
    }

    #[inline(always)]
    fn push(self, acc: &mut Self::Acc, value: W, place: isize) {
        for (acc, term) in acc.iter_mut().zip(M::of(value.into(), self.other.get::<V>(place).into())) {
            acc.add(term);
        }
    }

    /// Eight rows at a time, so that sums are loaded and stored once for eight elements.
    #[inline(always)]
    fn rows(self, accs: &mut [Self::Acc], rows: &[(Run<W>, isize)]) {
        for (strip, accs) in accs.chunks_mut(STRIP).enumerate() {
            let mut sums = [[0.0; N]; STRIP];
            let sums = &mut sums[..accs.len()];
            let (eights, rest) = rows.as_chunks::<8>();
            for eight in eights {
                let with: [f64; 8] = eight.map(|(_, place)| self.other.get::<V>(place).into());
                let part = Eight::of(eight.map(|(row, _)| row.part(strip * STRIP, STRIP)));
                for (sums, values) in sums.iter_mut().zip(part.columns()) {
                    let mut terms = [[0.0; 8]; N];
                    for (i, (value, with)) in values.into_iter().zip(with).enumerate() {
                        for (terms, term) in terms.iter_mut().zip(M::of(value.into(), with)) {
                            terms[i] = term;
                        }
                    }
                    for (sum, terms) in sums.iter_mut().zip(terms) {
                        *sum += add_lanes(terms);
                    }
                }
            }
            for &(row, place) in rest {
                let with = self.other.get::<V>(place).into();
                for (sums, value) in sums.iter_mut().zip(row.part(strip * STRIP, STRIP).iter()) {
                    for (sum, term) in sums.iter_mut().zip(M::of(value.into(), with)) {
                        *sum += term;
                    }
                }
            }
            for (acc, sums) in accs.iter_mut().zip(sums.iter()) {
                for (acc, &sum) in acc.iter_mut().zip(sums) {
                    acc.add(sum);
                }
            }
        }
    }

    #[inline(always)]
    fn merge(self, acc: &mut Self::Acc, later: &Self::Acc) {
        for (acc, later) in acc.iter_mut().zip(later) {
            acc.add_total(later);
        }
    }
}

/// An exact sum of products: its lowest 64 bits of each are added up by themselves, and what is above them.
#[derive(Clone, Copy, Default)]
struct WideTotal {
    low: u128,
    high: i128,
}

/// A type whose products are added up exactly.
trait Factor: Work {
    type Total: Default + Clone + Send + 'static;
    fn add(total: &mut Self::Total, a: Self, b: Self);
    fn merge(total: &mut Self::Total, later: &Self::Total);
    fn integer(total: &Self::Total) -> Integer;
}

/// Of up to 32 bits: 2^61 products of 2^64 fit into 127 bits.
macro_rules! small {
    ($($type:ty),*) => {$(
        impl Factor for $type {
            type Total = i128;
            #[inline(always)]
            fn add(total: &mut i128, a: Self, b: Self) {
                *total += i128::from(i64::from(a)) * i128::from(i64::from(b));
            }
            #[inline(always)]
            fn merge(total: &mut i128, later: &i128) {
                *total += later;
            }
            fn integer(total: &i128) -> Integer {
                (*total).into()
            }
        }
    )*};
}
small!(i8, u8, i16, u16, i32, u32);

macro_rules! large {
    ($($type:ty, $product:ty, |$wide:ident| $high:expr;)*) => {$(
        impl Factor for $type {
            type Total = WideTotal;
            #[inline(always)]
            #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
            #[expect(clippy::allow_attributes, reason = "not both rows of the table wrap")]
            #[allow(clippy::cast_sign_loss, reason = "the same bits")]
            fn add(total: &mut WideTotal, a: Self, b: Self) {
                let $wide = <$product>::from(a) * <$product>::from(b);
                total.low += u128::from($wide as u64);
                total.high += $high;
            }
            #[inline(always)]
            fn merge(total: &mut WideTotal, later: &WideTotal) {
                total.low += later.low;
                total.high += later.high;
            }
            fn integer(total: &WideTotal) -> Integer {
                Integer::from_parts(total.high, total.low)
            }
        }
    )*};
}
large! {
    i64, i128, |wide| wide >> 64;
    u64, u128, |wide| (wide >> 64).cast_signed();
}

#[derive(Clone, Copy)]
struct Exact {
    other: Second,
}

impl<W: Factor> Fold<W> for Exact {
    type Acc = W::Total;
    const INDEXED: bool = true;

    fn start(self) -> W::Total {
        W::Total::default()
    }

    #[inline(always)]
    fn run(self, acc: &mut W::Total, run: Run<W>, place: Place) {
        self.other.zip::<W, W>(run, place, |a, b| {
            for (a, b) in a.iter().zip(b.iter()) {
                W::add(acc, a, b);
            }
        });
    }

    #[inline(always)]
    fn push(self, acc: &mut W::Total, value: W, place: isize) {
        W::add(acc, value, self.other.get(place));
    }

    #[inline(always)]
    fn rows(self, accs: &mut [W::Total], rows: &[(Run<W>, isize)]) {
        for &(row, place) in rows {
            let with = self.other.get(place);
            for (acc, value) in accs.iter_mut().zip(row.iter()) {
                W::add(acc, value, with);
            }
        }
    }

    #[inline(always)]
    fn merge(self, acc: &mut W::Total, later: &W::Total) {
        W::merge(acc, later);
    }
}

/// How the products of elements become results.
trait Dot: Load {
    fn dot(view: &RawView, vector: &RawView, options: &Options) -> Result<Vec<Reduced>>;
}

macro_rules! exact_dots {
    ($($type:ty),*) => {$(
        impl Dot for $type {
            fn dot(view: &RawView, vector: &RawView, options: &Options) -> Result<Vec<Reduced>> {
                type Total = <<$type as Load>::Work as Factor>::Total;
                let integer = <<Self as Load>::Work as Factor>::integer;
                let recipe = Folding {
                    fold: Exact { other: Second::of::<Self>(vector) },
                    scalars: |acc: &Total| Ok([Scalar::Integer(integer(acc))]),
                    elements: |acc: &Total| Ok([integer(acc).to_element::<Self::Sum>()?]),
                    works: PhantomData::<fn(Self::Work)>,
                };
                run::<Self>(view, vector, options, &recipe)
            }
        }
    )*};
}
exact_dots!(Bool, i8, u8, i16, u16, i32, u32, i64, u64);

macro_rules! float_dots {
    ($($type:ty),*) => {$(
        impl Dot for $type {
            fn dot(view: &RawView, vector: &RawView, options: &Options) -> Result<Vec<Reduced>> {
                let mut memory = Vec::new();
                if view.shape.len() == 1 {
                    // As long as the view: not to be copied.
                    let fold = Pairs::<Product, Self::Work, 1>::with(Second::of::<Self>(vector));
                    return run::<Self>(view, vector, options, &floats::<Self, _>(fold));
                }
                let (line, other) = in_line(vector, &mut memory)?;
                let fold = Pairs::<Product, f64, 1>::with(other);
                run::<Self>(view, &line, options, &floats::<Self, _>(fold))
            }
        }
    )*};
}
float_dots!(f16, bf16, f32, f64);

fn floats<T, F>(fold: F) -> impl Recipe
where
    T: Load,
    F: Fold<T::Work, Acc = [FloatTotal; 1]>,
{
    Folding {
        fold,
        scalars: |[acc]: &[FloatTotal; 1]| Ok([acc.scalar()]),
        elements: |[acc]: &[FloatTotal; 1]| Ok([acc.to_f64()]),
        works: PhantomData::<fn(T::Work)>,
    }
}

fn run<T: Load>(
    view: &RawView,
    vector: &RawView,
    options: &Options,
    recipe: &dyn Recipe,
) -> Result<Vec<Reduced>> {
    let strides = repeated(view, vector);
    results(view, options, Source::of::<T>(view), recipe, Order::Of(&strides), T::Sum::DTYPE, 1)
}

/// The product of a vector with a vector, or with each row of `view` along its last axis.
///
/// Of floats it is made in float64. Of integers, and of truth values as 0 and 1, it is exact: an [`Integer`] for a vector,
/// else int64, or uint64 for unsigned ones. `vector` has the view's dtype. Of `options`, threads and control count.
///
/// # Errors
/// [`Error::InvalidValue`] where the dtypes differ or `vector` is not as long as the last axis; [`Error::OutOfRange`] where
/// an integer of an array does not fit; [`Error::TooLarge`] where the result does not fit into memory; [`Error::Aborted`].
pub fn dot(view: &RawView, vector: &RawView, options: &Options) -> Result<Reduced> {
    require_same_dtype(view, vector)?;
    require_vector(view, vector)?;
    let along = (view.shape.len() > 1).then_some([-1].as_slice());
    let options = Options { axes: along, ..*options };
    let mut dots = with_type!(view.dtype, T => <T as Dot>::dot(view, vector, &options))?;
    // One recipe gives one result.
    dots.pop().ok_or(crate::error::Error::Aborted)
}
