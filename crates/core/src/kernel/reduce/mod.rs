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

mod arg;
mod compare;
mod dot;
mod drive;
mod extremes;
mod fold;
mod histogram;
mod integer;
mod load;
mod moments;
mod pair;
mod plan;
mod product;
mod simd;
mod sum;
mod topk;
mod truth;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use self::drive::Job;
use self::fold::{Fold, Folding, Recipe};
use self::load::{Load, Source};
use self::plan::{Axes, Order, Plan};
use super::{Element, RawView, Wide};
use crate::dtype::DType;
use crate::error::{Error, Result};

pub use self::arg::{argmax, argmin};
pub use self::compare::{Tolerance, all_close, equals};
pub use self::dot::dot;
pub use self::extremes::{max, min, minmax};
pub use self::histogram::{Histogram, histogram};
pub use self::integer::Integer;
pub use self::moments::{mean, std, var};
pub use self::product::prod;
pub use self::sum::sum;
pub use self::topk::{Metric, TopK, topk};
pub use self::truth::{all, any, count_nonzero};

/// What to reduce, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The axes to reduce, as numpy counts them: negative ones from the end. `None` reduces everything.
    pub axes: Option<&'a [i64]>,
    /// Keep reduced axes, with length 1.
    pub keepdims: bool,
    /// Leave NaN out, as numpy's `nansum` and its like do.
    pub skip_nan: bool,
    /// The most threads to use, of which four for each core count; by default all cores for large views and one for small
    /// ones.
    pub threads: Option<usize>,
    /// How others stop the work and follow it.
    pub control: Control<'a>,
}

/// How others stop work that takes long and follow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// Set by others to stop: the result is [`Error::Aborted`].
    pub cancel: Option<&'a AtomicBool>,
    /// Grows by what is done with: elements of a reduction, bytes of a prefetch.
    pub done: Option<&'a AtomicU64>,
}

impl Control<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    pub(crate) fn add(&self, count: usize) {
        if let Some(done) = self.done {
            done.fetch_add(count as u64, Ordering::Relaxed);
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

impl From<Wide> for Scalar {
    fn from(value: Wide) -> Self {
        match value {
            Wide::Signed(value) => Self::Integer(i128::from(value).into()),
            Wide::Unsigned(value) => Self::Integer(i128::from(value).into()),
            Wide::Float(value) => Self::Float(value),
        }
    }
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

/// Reduces `view`, whose dtype is that of `T`; `scalar` and `element` say how what is known becomes a result.
fn reduce<T, F, O>(
    view: &RawView,
    options: &Options,
    fold: F,
    scalar: impl Fn(&F::Acc) -> Result<Scalar> + Sync,
    element: impl Fn(&F::Acc) -> Result<O> + Sync,
) -> Result<Reduced>
where
    T: Load,
    F: Fold<T::Work>,
    O: Element,
{
    let [one] = reduce_to::<T, F, O, 1>(
        view,
        options,
        fold,
        |acc| scalar(acc).map(|scalar| [scalar]),
        |acc| element(acc).map(|element| [element]),
    )?;
    Ok(one)
}

/// The same, to `N` results at once.
fn reduce_to<T, F, O, const N: usize>(
    view: &RawView,
    options: &Options,
    fold: F,
    scalars: impl Fn(&F::Acc) -> Result<[Scalar; N]> + Sync,
    elements: impl Fn(&F::Acc) -> Result<[O; N]> + Sync,
) -> Result<[Reduced; N]>
where
    T: Load,
    F: Fold<T::Work>,
    O: Element,
{
    let recipe = Folding { fold, scalars, elements, works: PhantomData::<fn(T::Work)> };
    let order = if F::INDEXED { Order::C } else { Order::Any };
    let results = results(view, options, Source::of::<T>(view), &recipe, order, O::DTYPE, N)?;
    // As many as the recipe gives: N.
    results.try_into().map_err(|_| Error::Aborted)
}

/// Reduces a view by a recipe that gives `n` results of this dtype.
fn results(
    view: &RawView,
    options: &Options,
    source: Source,
    recipe: &dyn Recipe,
    order: Order,
    dtype: DType,
    n: usize,
) -> Result<Vec<Reduced>> {
    let axes = Axes::new(options.axes, view.shape.len())?;
    let shape = axes.result_shape(&view.shape, options.keepdims);
    // Axes of the view, some left out: without those of length 0 they multiply to no more than its size.
    let count: usize = shape.iter().product::<u64>().try_into().unwrap_or(usize::MAX);
    let each = |sink: &mut drive::Sink| each(view, options, source, recipe, order, sink);
    if options.axes.is_none() && !options.keepdims {
        let mut scalars = Vec::new();
        each(&mut |known, _, _| {
            scalars = recipe.scalars(known)?;
            Ok(())
        })?;
        return Ok(scalars.into_iter().map(Reduced::Scalar).collect());
    }
    let mut arrays = vec![Vec::new(); n];
    for data in &mut arrays {
        let nbytes = count.saturating_mul(dtype.itemsize());
        data.try_reserve_exact(nbytes).map_err(|_| {
            Error::too_large(format!(
                "a result of shape {shape:?} and dtype {dtype} does not fit into memory; reduce a part of the view"
            ))
        })?;
        data.resize(nbytes, 0);
    }
    each(&mut |known, from, places| recipe.write(known, from, places, &mut arrays))?;
    let array = |data| Reduced::Array(ReducedArray { dtype, shape: shape.clone(), data });
    Ok(arrays.into_iter().map(array).collect())
}

/// Gives what is known of each result to `sink`, as it gets ready.
fn each(
    view: &RawView,
    options: &Options,
    source: Source,
    recipe: &dyn Recipe,
    order: Order,
    sink: &mut drive::Sink,
) -> Result<()> {
    let axes = Axes::new(options.axes, view.shape.len())?;
    let count = axes.result_shape(&view.shape, false).iter().product::<u64>();
    if count == 0 || axes.reduced_len(&view.shape) == 0 {
        let mut nothing = recipe.begin();
        nothing.extend(1);
        let count: usize = count.try_into().unwrap_or(usize::MAX);
        return (0..count).try_for_each(|i| sink(&*nothing, 0, (i, 1, 1)));
    }
    let plan = Plan::new(view, &axes, order, recipe.size());
    Job { plan: &plan, source, recipe, options }.run(sink)
}

/// The same, with one NaN for all: which of two NaN an addition gives depends on the processor.
fn plain(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// Refuses to look for an extreme of nothing, even where that would give no result at all: as numpy does.
fn require_elements(view: &RawView, options: &Options, what: &str) -> Result<()> {
    let axes = Axes::new(options.axes, view.shape.len())?;
    if axes.reduced_len(&view.shape) == 0 {
        return Err(Error::invalid_value(format!(
            "the {what} of nothing does not exist: the view has shape {:?}. Check its length first",
            view.shape
        )));
    }
    Ok(())
}
