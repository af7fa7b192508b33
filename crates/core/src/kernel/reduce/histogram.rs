//! How often values fall into bins of equal width.
//!
//! A value is in the last bin whose lower edge is not above it: its place is guessed by a division and put right by a
//! look at the edges, as numpy does it. So counts follow from edges alone, and edges are made as numpy makes them: in
//! float32 for float32 whose range is its own, else in float64. Each worker counts for itself; counts are integers, and
//! their sum knows no order.

use super::load::{BLOCK, Block, Load, Run, Source};
use super::plan::{Axes, Order, Plan};
use super::simd::{Kernel, dispatch};
use super::{Options, Reduced, Scalar, minmax};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::crew::{Halt, share};
use crate::kernel::{Element, RawView, with_type};

/// Counts of values between edges.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Elements in each bin.
    pub counts: Vec<u64>,
    /// Where bins begin, and where the last one ends.
    pub edges: Vec<f64>,
}

/// How often the elements of `view` fall into each of `bins` bins between the two ends of `range`.
///
/// A bin takes its lower edge, and the last one its upper edge as well. Without a range it is from the least element to
/// the greatest, and from 0 to 1 for no elements; one without width becomes half a unit wider at both ends. Elements
/// outside the range are not counted, nor is NaN. Of `options`, threads and control count; without a range the elements
/// are gone through twice.
///
/// # Errors
/// [`Error::InvalidValue`] for no bins, for a range that is not finite or goes down, for elements that are not finite
/// where the range is theirs, and for more bins than there are floats in the range; [`Error::TooLarge`] where the bins do
/// not fit into memory; [`Error::Aborted`].
pub fn histogram(
    view: &RawView,
    bins: usize,
    range: Option<(f64, f64)>,
    options: &Options,
) -> Result<Histogram> {
    if bins == 0 {
        return Err(Error::invalid_value("bins is 0; expected at least one"));
    }
    let options = Options { axes: None, keepdims: false, skip_nan: false, ..*options };
    let edges = edges(view, bins, range, &options)?;
    let counts = with_type!(view.dtype, T => count::<T>(view, &edges, &options))?;
    Ok(Histogram { counts, edges })
}

/// The edges, all of them different.
fn edges(view: &RawView, bins: usize, range: Option<(f64, f64)>, options: &Options) -> Result<Vec<f64>> {
    let is_short = !matches!(view.dtype, DType::Float64) && is_float(view.dtype);
    let (low, high) = match range {
        Some(range) => range,
        None if view.is_empty() => (0.0, 1.0),
        None => {
            let (least, greatest) = minmax(view, options)?;
            (float(&least), float(&greatest))
        }
    };
    if !low.is_finite() || !high.is_finite() {
        let what = if range.is_some() {
            "give two finite numbers"
        } else {
            "there is NaN or infinity among the elements: give the range that counts"
        };
        return Err(Error::invalid_value(format!("the range from {low} to {high} is not finite; {what}")));
    }
    if low > high {
        return Err(Error::invalid_value(format!(
            "the range from {low} to {high} goes down; give the lesser end first"
        )));
    }
    let mut edges = memory(bins.saturating_add(1), bins)?;
    if is_short && range.is_none() {
        edges.extend(short_edges(low, high, bins));
    } else {
        edges.extend(even_edges(low, high, bins).map(|edge| if is_short { shorten(edge) } else { edge }));
    }
    if edges.is_sorted_by(|a, b| a < b) {
        return Ok(edges);
    }
    Err(Error::invalid_value(format!(
        "there are too few floats from {low} to {high} for {bins} bins; take fewer, or a wider range"
    )))
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::Float16 | DType::Bfloat16 | DType::Float32 | DType::Float64)
}

fn float(reduced: &Reduced) -> f64 {
    match reduced {
        Reduced::Scalar(Scalar::Float(value)) => *value,
        Reduced::Scalar(Scalar::Integer(value)) => value.to_f64(),
        Reduced::Scalar(Scalar::Bool(value)) => f64::from(u8::from(*value)),
        Reduced::Array(_) => f64::NAN,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn shorten(value: f64) -> f64 {
    f64::from(value as f32)
}

/// A macro and not a function over a trait of floats: the same arithmetic in two types.
macro_rules! spaced {
    ($name:ident, $float:ty) => {
        #[expect(clippy::allow_attributes, reason = "not both types round")]
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::unnecessary_cast,
            clippy::cast_lossless,
            clippy::float_cmp,
            reason = "rounding is what numpy does, and a range of one value has no width"
        )]
        fn $name(low: f64, high: f64, bins: usize) -> impl Iterator<Item = f64> {
            let (mut low, mut high) = (low as $float, high as $float);
            if low == high {
                (low, high) = (low - 0.5, high + 0.5);
            }
            let width = high - low;
            let step = width / bins as $float;
            (0..=bins).map(move |i| {
                let along =
                    if step == 0.0 { i as $float / bins as $float * width } else { i as $float * step };
                if i == bins { high as f64 } else { (along + low) as f64 }
            })
        }
    };
}
spaced!(even_edges, f64);
spaced!(short_edges, f32);

/// Room for as many elements.
fn memory<T>(len: usize, bins: usize) -> Result<Vec<T>> {
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(len)
        .map_err(|_| Error::too_large(format!("{bins} bins do not fit into memory; take fewer")))?;
    Ok(memory)
}

fn count<T: Load>(view: &RawView, edges: &[f64], options: &Options) -> Result<Vec<u64>>
where
    T::Work: Element,
{
    let bins = edges.len() - 1;
    let zeros = || {
        let mut counts = memory(bins, bins)?;
        counts.resize(bins, 0);
        Ok(counts)
    };
    if view.is_empty() {
        return zeros();
    }
    let axes = Axes::new(None, view.shape.len())?;
    let plan = Plan::new(view, &axes, Order::Any, size_of::<u64>());
    let source = Source::of::<T>(view);
    let halt = Halt::new(options.control);
    let given = share(plan.chunks(), options.threads, &halt, |next| {
        let mut counts = zeros()?;
        let mut block = Block::default();
        block.reserve(&source, BLOCK);
        while let Some(chunk) = next() {
            let steps = plan.chunk(chunk).1;
            let elements = steps.len();
            plan.reduced.visit(steps, &mut |[offset, _], n, [stride, _]| {
                for from in (0..n).step_by(BLOCK) {
                    let len = BLOCK.min(n - from);
                    let offset = plan.first + offset + from.cast_signed() * stride;
                    let at = if source.reads_in_place(stride) {
                        source.at(offset)
                    } else {
                        // SAFETY:
                        // - the plan gives places of elements of the view, and `n - from` of them are left of this run.
                        unsafe { block.gather(&source, 0, (offset, stride), len) };
                        block.at(&source, 0)
                    };
                    // SAFETY:
                    // - elements of the view, in place or gathered, side by side in the order of this machine.
                    let run = unsafe { Run::<T::Work>::new(at, len) };
                    dispatch(Count { run, edges, counts: &mut counts });
                }
                !halt.is_on()
            });
            halt.add(elements);
        }
        Ok(counts)
    });
    if options.control.is_cancelled() {
        return Err(Error::Aborted);
    }
    let mut total = zeros()?;
    for counts in given {
        for (total, count) in total.iter_mut().zip(counts?) {
            *total += count;
        }
    }
    Ok(total)
}

struct Count<'a, W> {
    run: Run<'a, W>,
    edges: &'a [f64],
    counts: &'a mut [u64],
}

impl<W: super::load::Work + Element> Kernel for Count<'_, W> {
    type Output = ();

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a guess between 0 and the number of bins"
    )]
    fn call(self) {
        let Self { run, edges, counts } = self;
        let (Some(&low), Some(&high), last) = (edges.first(), edges.last(), counts.len() - 1) else { return };
        let scale = counts.len() as f64 / (high - low);
        let mut places = [0.0; BLOCK];
        let mut values = [0.0; BLOCK];
        for ((value, place), element) in values.iter_mut().zip(&mut places).zip(run.iter()) {
            *value = element.widen().float();
            *place = (*value - low) * scale;
        }
        for (&value, &place) in values.iter().zip(&places).take(run.len()) {
            if value >= low && value <= high {
                let mut bin = (place as usize).min(last);
                while value < edges[bin] {
                    bin -= 1;
                }
                while bin < last && value >= edges[bin + 1] {
                    bin += 1;
                }
                counts[bin] += 1;
            }
        }
    }
}
