//! Reductions of any view: sums, extremes and the like, over everything or over any axes.
//!
//! One walk serves all: [`plan`] turns axes into straight lines and cuts them into chunks, [`drive`] gives the chunks
//! to threads and puts the results together in order, [`load`] brings elements into registers, and each operation is
//! a `Fold` over runs of elements in a file of its own. NaN is treated as numpy treats it. Results do not depend on
//! the number of threads or on the processor.

#![expect(
    clippy::inline_always,
    reason = "kernels are inlined into shells for several processors: see simd.rs"
)]

mod drive;
mod integer;
mod load;
mod plan;
mod simd;
mod sum;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use self::drive::{Fold, Job};
use self::load::{Load, Source, Work};
use self::plan::{Axes, Plan};
use self::sum::{Sum, Total};
use super::{Element, RawView, with_type};
use crate::dtype::DType;
use crate::error::{Error, Result};

pub use self::integer::Integer;

/// What to reduce, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The axes to reduce, as numpy counts them: negative ones from the end. `None` reduces everything.
    pub axes: Option<&'a [i64]>,
    /// Keep reduced axes, with length 1.
    pub keepdims: bool,
    /// Leave NaN out, as numpy's `nansum` and its like do.
    pub skip_nan: bool,
    /// The most threads to use; by default all cores for large views and one for small ones.
    pub threads: Option<usize>,
    /// How others stop the work and follow it.
    pub control: Control<'a>,
}

/// How others stop a reduction and follow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// Set by others to stop: the result is [`Error::Aborted`].
    pub cancel: Option<&'a AtomicBool>,
    /// Grows by the number of elements that are done with.
    pub done: Option<&'a AtomicU64>,
}

impl Control<'_> {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    fn add(&self, elements: usize) {
        if let Some(done) = self.done {
            done.fetch_add(elements as u64, Ordering::Relaxed);
        }
    }
}

/// The result of a reduction: a scalar without axes, and an array with axes or `keepdims`.
#[derive(Clone, Debug, PartialEq)]
pub enum Reduced {
    /// One value.
    Scalar(Scalar),
    /// Many values, or one with axes.
    Array(ReducedArray),
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A float, or an integer that was asked for as the nearest double.
    Float(f64),
    /// An exact integer.
    Integer(Integer),
    /// A truth value.
    Bool(bool),
}

/// New memory with elements in C order, in the byte order of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReducedArray {
    /// The dtype of the elements.
    pub dtype: DType,
    /// Elements along each axis.
    pub shape: Vec<u64>,
    /// The elements.
    pub data: Vec<u8>,
}

/// Says how what is known of the elements becomes a result.
struct Finish<S, E> {
    scalar: S,
    element: E,
}

/// Reduces `view`, whose dtype is that of `T`.
fn reduce<T, F, O>(
    view: &RawView,
    options: &Options,
    fold: F,
    finish: Finish<impl Fn(&F::Acc) -> Result<Scalar> + Sync, impl Fn(&F::Acc) -> Result<O> + Sync>,
) -> Result<Reduced>
where
    T: Load,
    F: Fold<T::Work>,
    O: Element,
{
    let axes = Axes::new(options.axes, view.shape.len())?;
    let shape = axes.result_shape(&view.shape, options.keepdims);
    let count = shape.iter().product::<u64>() as usize;
    let each = |sink: &mut drive::Sink<F::Acc>| {
        if count == 0 || axes.reduced_len(&view.shape) == 0 {
            return (0..count).try_for_each(|i| sink(i, &fold.start()));
        }
        let plan = Plan::new(view, &axes, F::INDEXED, size_of::<F::Acc>());
        Job { plan: &plan, source: Source::of::<T>(view), fold, options }.run(sink)
    };
    if options.axes.is_none() && !options.keepdims {
        let mut result = None;
        each(&mut |_, acc| {
            result = Some((finish.scalar)(acc)?);
            Ok(())
        })?;
        return result.map(Reduced::Scalar).ok_or(Error::Aborted);
    }
    let size = O::DTYPE.itemsize();
    let mut data = Vec::new();
    data.try_reserve_exact(count.saturating_mul(size)).map_err(|_| {
        Error::too_large(format!(
            "a result of shape {shape:?} and dtype {} does not fit into memory; reduce a part of the view",
            O::DTYPE
        ))
    })?;
    data.resize(count * size, 0);
    each(&mut |i, acc| {
        data[i * size..][..size].copy_from_slice((finish.element)(acc)?.to_bytes().as_ref());
        Ok(())
    })?;
    Ok(Reduced::Array(ReducedArray { dtype: O::DTYPE, shape, data }))
}

/// The sum.
///
/// Floats are added as float64, into a float64. Integers are added exactly: to an [`Integer`], or with axes to int64,
/// or uint64 for unsigned ones. The sum of nothing is 0.
///
/// # Errors
/// [`Error::OutOfRange`] for an axis that the view has not, and where an integer does not fit into 64 bits: always with
/// axes, and for elements of 64 bits; [`Error::InvalidValue`] for an axis given twice; [`Error::Aborted`];
/// [`Error::TooLarge`].
pub fn sum(view: &RawView, options: &Options) -> Result<Reduced> {
    with_type!(view.dtype, T => {
        let finish = Finish { scalar: |acc: &TotalOf<T>| Ok(acc.scalar()), element: |acc: &TotalOf<T>| acc.element() };
        if options.skip_nan && <T as Load>::Work::FLOAT {
            reduce::<T, _, <T as Load>::Sum>(view, options, Sum::<true>, finish)
        } else {
            reduce::<T, _, <T as Load>::Sum>(view, options, Sum::<false>, finish)
        }
    })
}

type TotalOf<T> = <<T as Load>::Work as sum::Addend>::Total;
