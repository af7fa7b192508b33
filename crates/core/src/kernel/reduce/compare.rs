//! Two views beside each other: are they equal, or nearly?
//!
//! Views of one dtype are compared in place, on lanes, and the first difference ends it. Numbers of two dtypes are
//! compared for what they are, exactly: no conversion makes a large integer equal to a float beside it. Nearness is a
//! matter of float64 for all dtypes; numpy finds it in the shorter float of the two.

use std::marker::PhantomData;
use std::ops::BitOrAssign;

use super::drive::Place;
use super::fold::{Fold, Folding, Recipe};
use super::load::{Load, Run, Source, Work};
use super::pair::Second;
use super::plan::Order;
use super::{Options, Reduced, Scalar, results};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{Bool, Element, RawView, Wide, with_type};

/// How near is near enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// What an element may differ by, for each 1 that the other one is away from 0.
    pub relative: f64,
    /// What an element may differ by in any case.
    pub absolute: f64,
    /// Whether NaN is near to NaN.
    pub equal_nan: bool,
}

/// Whether all pairs match. `match_run` looks at a run of them.
macro_rules! folds {
    ($(
        $(#[$doc:meta])*
        $name:ident<$W:ident: $bound:path>($self:ident, $run:ident, $place:ident) -> bool $body:block
    )*) => {$(
        impl<$W: $bound> Fold<$W> for $name {
            type Acc = bool;
            const INDEXED: bool = true;

            fn start(self) -> bool {
                true
            }

            #[inline(always)]
            fn run($self, acc: &mut bool, $run: Run<$W>, $place: Place) {
                *acc = *acc && $body;
            }

            /// Never called: everything is one result.
            fn push(self, _: &mut bool, _: $W, _: isize) {}

            fn merge(self, acc: &mut bool, later: &bool) {
                *acc &= later;
            }

            fn is_settled(self, acc: &bool) -> bool {
                !acc
            }
        }
    )*};
}

/// Equal elements of one type.
#[derive(Clone, Copy)]
struct Same {
    other: Second,
    equal_nan: bool,
}

/// Equal numbers of any types.
#[derive(Clone, Copy)]
struct SameNumber {
    other: Second,
    equal_nan: bool,
}

/// Numbers that are near to each other.
#[derive(Clone, Copy)]
struct Near {
    other: Second,
    tolerance: Tolerance,
}

folds! {
    Same<W: Work>(self, run, place) -> bool {
        let mut all = true;
        self.other.zip::<W, W>(run, place, |a, b| all = all && same_run(a, b, self.equal_nan));
        all
    }
    SameNumber<W: Number>(self, run, place) -> bool {
        let mut all = true;
        self.other.zip_values(run, place, Wide::Unsigned(0), |a, b| {
            all = all && a.iter().zip(b).all(|(a, &b)| {
                equal_numbers(a.widen(), b) || (self.equal_nan && a.is_nan() && b.float().is_nan())
            });
        });
        all
    }
    Near<W: Number>(self, run, place) -> bool {
        let mut all = true;
        self.other.zip_values(run, place, 0.0_f64, |a, b| {
            for (a, &b) in a.iter().zip(b) {
                let a = a.widen().float();
                all = all && is_near(a, b, self.tolerance);
            }
        });
        all
    }
}

/// A type that kernels see, which has a number.
trait Number: Work + Element {}

impl<W: Work + Element> Number for W {}

#[inline(always)]
fn same_run<W: Work>(a: Run<W>, b: Run<W>, equal_nan: bool) -> bool {
    if W::FLOAT && equal_nan {
        by_size(a, b, |a, b| (a == b) | (a.is_nan() & b.is_nan()))
    } else {
        by_size(a, b, |a, b| a == b)
    }
}

/// What a lane knows is as wide as its elements.
#[inline(always)]
fn by_size<W: Work>(a: Run<W>, b: Run<W>, same: impl Fn(W, W) -> bool) -> bool {
    match size_of::<W>() {
        8 => same_lanes::<W, u64, 16>(a, b, same),
        4 => same_lanes::<W, u32, 32>(a, b, same),
        2 => same_lanes::<W, u16, 64>(a, b, same),
        _ => same_lanes::<W, u8, 64>(a, b, same),
    }
}

#[inline(always)]
fn same_lanes<W, M, const L: usize>(a: Run<W>, b: Run<W>, same: impl Fn(W, W) -> bool) -> bool
where
    W: Work,
    M: From<bool> + BitOrAssign + PartialEq + Copy,
{
    a.parts(BLOCK).zip(b.parts(BLOCK)).all(|(a, b)| {
        let mut differ = [M::from(false); L];
        for (a, b) in a.lanes::<L>().zip(b.lanes::<L>()) {
            for (differ, (a, b)) in differ.iter_mut().zip(a.into_iter().zip(b)) {
                *differ |= M::from(!same(a, b));
            }
        }
        differ.into_iter().all(|differ| differ == M::from(false))
            && a.rest::<L>().iter().zip(b.rest::<L>().iter()).all(|(a, b)| same(a, b))
    })
}

/// Elements between two looks at whether there is a difference.
const BLOCK: usize = 4096;

#[inline(always)]
#[expect(clippy::float_cmp, reason = "infinities are near to themselves")]
fn is_near(a: f64, b: f64, Tolerance { relative, absolute, equal_nan }: Tolerance) -> bool {
    ((a - b).abs() <= absolute + relative * b.abs() && b.is_finite())
        || a == b
        || (equal_nan && a.is_nan() && b.is_nan())
}

/// Whether two numbers are the same, whatever holds them.
#[expect(clippy::float_cmp, reason = "equality is what is asked for")]
fn equal_numbers(a: Wide, b: Wide) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.float() == b.float(),
        (Some(integer), None) => is_integer(b.float(), integer),
        (None, Some(integer)) => is_integer(a.float(), integer),
    }
}

fn integer(value: Wide) -> Option<i128> {
    match value {
        Wide::Signed(value) => Some(value.into()),
        Wide::Unsigned(value) => Some(value.into()),
        Wide::Float(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float without a fraction, or one that is refused")]
fn is_integer(float: f64, integer: i128) -> bool {
    // Beyond 2^127 the conversion saturates, and no integer of 64 bits is there.
    float.fract() == 0.0 && float as i128 == integer
}

fn require_same_shape(view: &RawView, other: &RawView) -> Result<()> {
    if view.shape == other.shape {
        return Ok(());
    }
    Err(Error::invalid_value(format!(
        "the other operand has shape {:?}, the view {:?}; they must be equal",
        other.shape, view.shape
    )))
}

/// Whether a fold of truth values is true of everything.
fn holds<T: Load>(
    view: &RawView,
    other: &RawView,
    options: &Options,
    fold: impl Fold<T::Work, Acc = bool>,
) -> Result<bool> {
    let recipe = Folding {
        fold,
        scalars: |&acc: &bool| Ok([Scalar::Bool(acc)]),
        elements: |&acc: &bool| Ok([Bool::from(acc)]),
        works: PhantomData::<fn(T::Work)>,
    };
    let recipe: &dyn Recipe = &recipe;
    let options = Options { axes: None, keepdims: false, ..*options };
    let order = Order::Of(&other.strides);
    let held = results(view, &options, Source::of::<T>(view), recipe, order, DType::Bool, 1)?;
    Ok(held == [Reduced::Scalar(Scalar::Bool(true))])
}

/// Whether two views of one shape have equal elements: numbers are compared exactly, whatever their dtypes.
///
/// NaN equals nothing, or with `equal_nan` NaN. Of `options`, threads and control count.
///
/// # Errors
/// [`Error::InvalidValue`] where the shapes differ; [`Error::Aborted`].
pub fn equals(view: &RawView, other: &RawView, equal_nan: bool, options: &Options) -> Result<bool> {
    require_same_shape(view, other)?;
    with_type!(view.dtype, T => if view.dtype == other.dtype {
        holds::<T>(view, other, options, Same { other: Second::of::<T>(other), equal_nan })
    } else {
        holds::<T>(view, other, options, SameNumber { other: Second::converted::<Wide>(other), equal_nan })
    })
}

/// Whether each element of `view` is within `tolerance` of the one of `other`, or equal to it, as numpy's `allclose`.
///
/// Differences are found in float64. Of `options`, threads and control count.
///
/// # Errors
/// [`Error::InvalidValue`] where the shapes differ; [`Error::Aborted`].
pub fn all_close(view: &RawView, other: &RawView, tolerance: Tolerance, options: &Options) -> Result<bool> {
    require_same_shape(view, other)?;
    with_type!(view.dtype, T => {
        holds::<T>(view, other, options, Near { other: Second::converted::<f64>(other), tolerance })
    })
}
