//! The rows of a matrix that are nearest to a query.
//!
//! Scores are the products of `dot`, made in float64 and in the same walk; a heap of `k` takes them as they get ready, so
//! that nothing grows with the number of rows, and the matrix is read once. numpy makes all scores first, and then looks
//! for the best of them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::marker::PhantomData;

use super::dot::{Pairs, Product, Term, dot};
use super::drive::Sink;
use super::fold::{Folding, Recipe};
use super::load::{Load, Source};
use super::pair::{in_line, repeated, require_same_dtype, require_vector};
use super::plan::Order;
use super::sum::{FloatTotal, Total};
use super::{Options, Reduced, Scalar, each, plain};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::RawView;

/// What makes a row near to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The product with the query: the greatest are best.
    Dot,
    /// The cosine of the angle to the query: the greatest are best. NaN where either has length 0.
    Cosine,
    /// The Euclidean distance from the query: the least are best.
    L2,
}

impl Metric {
    /// The metric of this name: `dot`, `cosine` or `l2`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for another name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "dot" => Ok(Self::Dot),
            "cosine" => Ok(Self::Cosine),
            "l2" => Ok(Self::L2),
            _ => {
                Err(Error::out_of_range(format!("metric is {name:?}; expected one of 'dot', 'cosine', 'l2'")))
            }
        }
    }
}

/// Rows and their scores, the best first.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// The rows.
    pub indices: Vec<usize>,
    /// What the metric gives for each of them.
    pub scores: Vec<f64>,
}

/// The square of the difference.
#[derive(Clone, Copy)]
struct Distance;

impl Term<1> for Distance {
    #[inline(always)]
    fn of(a: f64, b: f64) -> [f64; 1] {
        [(a - b) * (a - b)]
    }
}

/// The product, and the square of the first.
#[derive(Clone, Copy)]
struct Angle;

impl Term<2> for Angle {
    #[inline(always)]
    fn of(a: f64, b: f64) -> [f64; 2] {
        [a * b, a * a]
    }
}

/// A row and its rank, which is the higher the better it is. One is greater than another if it is worse.
#[derive(Clone, Copy)]
struct Candidate {
    rank: f64,
    index: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_rank = other.rank.partial_cmp(&self.rank);
        // NaN is worse than all numbers.
        let by_rank = by_rank.unwrap_or_else(|| self.rank.is_nan().cmp(&other.rank.is_nan()));
        by_rank.then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The `k` best rows of a matrix of floats by what `metric` says of them and `query`, the best first.
///
/// Scores are found in float64. Rows of one score are in the order of their indices, rows whose score is NaN behind all
/// others. Of `options`, threads and control count.
///
/// # Errors
/// [`Error::InvalidValue`] if the view is not a matrix of floats, or the query not a vector of its dtype as long as its
/// rows; [`Error::OutOfRange`] for a `k` of 0 or of more than there are rows; [`Error::TooLarge`] where `k` results do not
/// fit into memory; [`Error::Aborted`].
pub fn topk(view: &RawView, query: &RawView, k: usize, metric: Metric, options: &Options) -> Result<TopK> {
    let &[rows, _] = view.shape.as_slice() else {
        return Err(Error::invalid_value(format!(
            "the view has shape {:?}; expected the two axes of a matrix",
            view.shape
        )));
    };
    require_same_dtype(view, query)?;
    require_vector(view, query)?;
    if k == 0 || k > rows {
        return Err(Error::out_of_range(format!("k is {k}; expected an integer from 1 to the {rows} rows")));
    }
    let mut best = BinaryHeap::new();
    best.try_reserve_exact(k).map_err(|_| {
        Error::too_large(format!(
            "{k} results do not fit into memory; ask for fewer, or for those of some rows"
        ))
    })?;
    let options = Options { axes: Some(&[-1]), ..*options };
    match view.dtype {
        DType::Float16 => search::<half::f16>(view, query, metric, &options, &mut best, k),
        DType::Bfloat16 => search::<half::bf16>(view, query, metric, &options, &mut best, k),
        DType::Float32 => search::<f32>(view, query, metric, &options, &mut best, k),
        DType::Float64 => search::<f64>(view, query, metric, &options, &mut best, k),
        other => Err(Error::invalid_value(format!(
            "the view is of dtype {other}; expected floats. Convert it to float32 first"
        ))),
    }?;
    let best = best.into_sorted_vec();
    let sign = if metric == Metric::L2 { -1.0 } else { 1.0 };
    Ok(TopK {
        indices: best.iter().map(|found| found.index).collect(),
        scores: best.iter().map(|found| sign * found.rank).collect(),
    })
}

/// Puts the best rows into a heap of at most `k`, the worst of them on top.
fn search<T>(
    view: &RawView,
    query: &RawView,
    metric: Metric,
    options: &Options,
    best: &mut BinaryHeap<Candidate>,
    k: usize,
) -> Result<()>
where
    T: Load,
    T::Work: Into<f64>,
{
    let mut memory = Vec::new();
    let (line, other) = in_line(query, &mut memory)?;
    let strides = repeated(view, &line);
    let mut run = |recipe: &dyn Recipe| {
        let mut ranks = [Vec::new()];
        let sink: &mut Sink = &mut |known, from, (first, n, step)| {
            let [data] = &mut ranks;
            data.resize(n * size_of::<f64>(), 0);
            recipe.write(known, from, (0, n, 1), &mut ranks)?;
            let [data] = &ranks;
            for (i, &bytes) in (0..).zip(data.as_chunks::<8>().0) {
                let found =
                    Candidate { rank: f64::from_ne_bytes(bytes), index: first.wrapping_add_signed(step * i) };
                if best.len() < k {
                    best.push(found);
                } else if let Some(mut worst) = best.peek_mut()
                    && found < *worst
                {
                    *worst = found;
                }
            }
            Ok(())
        };
        each(view, options, Source::of::<T>(view), recipe, Order::Of(&strides), sink)
    };
    match metric {
        Metric::Dot => run(&ranked::<T, _, 1>(Pairs::<Product, f64, 1>::with(other), |[dot]| dot)),
        Metric::L2 => {
            run(&ranked::<T, _, 1>(Pairs::<Distance, f64, 1>::with(other), |[square]| -square.sqrt()))
        }
        Metric::Cosine => {
            let length = length(&line)?;
            run(&ranked::<T, _, 2>(Pairs::<Angle, f64, 2>::with(other), move |[dot, square]| {
                dot / (length * square.sqrt())
            }))
        }
    }
}

/// Sums over pairs, and the rank that they give a row.
fn ranked<T, M, const N: usize>(
    fold: Pairs<M, f64, N>,
    rank: impl Fn([f64; N]) -> f64 + Copy + Sync,
) -> impl Recipe
where
    T: Load,
    T::Work: Into<f64>,
    M: Term<N>,
{
    let rank = move |acc: &[FloatTotal; N]| plain(rank(acc.each_ref().map(Total::to_f64)));
    Folding {
        fold,
        scalars: move |acc: &_| Ok([Scalar::Float(rank(acc))]),
        elements: move |acc: &_| Ok([rank(acc)]),
        works: PhantomData::<fn(T::Work)>,
    }
}

/// The Euclidean length of a vector.
fn length(vector: &RawView) -> Result<f64> {
    match dot(vector, vector, &Options::default())? {
        Reduced::Scalar(Scalar::Float(square)) => Ok(square.sqrt()),
        // A vector of floats has a float with itself.
        _ => Ok(f64::NAN),
    }
}
