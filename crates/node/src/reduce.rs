//! Reductions of an open array, here or on a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_ndarray_core::kernel::{self as reduce, Control, Options, RawView, Reduced, Scalar};
use mmap_ndarray_core::{DynMmapArray, Error as CoreError, Layout, Result as CoreResult};
use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi::{Env, Result};
use napi_derive::napi;

use crate::buffer;
use crate::convert::{number, size};
use crate::task;

/// What is known of a piece of work while it runs, and the way to stop it.
#[napi]
#[derive(Default)]
pub struct NativeJob(Arc<State>);

#[derive(Default)]
pub(crate) struct State {
    cancel: AtomicBool,
    done: AtomicU64,
}

impl State {
    /// What the core stops and counts by.
    pub(crate) fn control(&self) -> Control<'_> {
        Control { cancel: Some(&self.cancel), done: Some(&self.done) }
    }

    /// Stops the work soon.
    pub(crate) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

#[napi]
impl NativeJob {
    /// For one piece of work.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env) -> Result<Self> {
        let job = Self::default();
        task::stop_at_end(&env, &job.0)?;
        Ok(job)
    }

    /// Stops the work soon: it fails with `ABORT_ERR`.
    #[napi(catch_unwind)]
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Elements that are done with; bytes of a prefetch.
    #[napi(catch_unwind)]
    pub fn done(&self) -> Result<f64> {
        number(self.0.done.load(Ordering::Relaxed), "the count")
            .map_err(|error| napi::Error::from_reason(error.to_string()))
    }
}

impl NativeJob {
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.0)
    }
}

impl Drop for NativeJob {
    /// Nobody waits for the work any more: its environment has ended.
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What to reduce, and how.
#[napi(object)]
pub struct NativeReduceOptions {
    /// The axes; everything without them.
    pub axes: Option<Vec<f64>>,
    /// Keep reduced axes, with length 1.
    pub keepdims: bool,
    /// Leave NaN out.
    pub skip_nan: bool,
    /// What is taken off the number of elements before a variance is divided by it.
    pub ddof: f64,
    /// The most threads to use.
    pub threads: Option<f64>,
}

/// One result: a number, an exact integer, a truth value, or an array with a dtype, a shape and bytes.
#[napi(object)]
pub struct NativeReduced {
    /// A float.
    pub number: Option<f64>,
    /// An exact integer.
    pub integer: Option<BigInt>,
    /// A truth value.
    pub truth: Option<bool>,
    /// Long name of the dtype of an array.
    pub dtype: Option<String>,
    /// Elements along each of its axes.
    pub shape: Option<Vec<f64>>,
    /// Its elements, in C order and this machine's byte order.
    pub data: Option<Uint8Array>,
}

impl NativeReduced {
    pub(crate) fn new(reduced: Reduced) -> CoreResult<Self> {
        let mut result =
            Self { number: None, integer: None, truth: None, dtype: None, shape: None, data: None };
        match reduced {
            Reduced::Scalar(Scalar::Float(value)) => result.number = Some(value),
            Reduced::Scalar(Scalar::Integer(value)) => {
                let words = if value.words().is_empty() { vec![0] } else { value.words().to_vec() };
                result.integer = Some(BigInt { sign_bit: value.is_negative(), words });
            }
            Reduced::Scalar(Scalar::Bool(value)) => result.truth = Some(value),
            Reduced::Array(array) => {
                let shape = array.shape.iter().map(|&n| number(n, "an axis")).collect::<CoreResult<_>>()?;
                result.dtype = Some(array.dtype.name().to_owned());
                result.shape = Some(shape);
                result.data = Some(array.data.into());
            }
        }
        Ok(result)
    }
}

type Operation = fn(&RawView, f64, &Options) -> CoreResult<Vec<Reduced>>;

/// A reduction with all that it needs, ready to run on any thread.
pub(crate) struct Reduction {
    operation: Operation,
    axes: Option<Vec<i64>>,
    keepdims: bool,
    skip_nan: bool,
    ddof: f64,
    threads: Option<usize>,
    state: Arc<State>,
}

impl Reduction {
    pub(crate) fn new(name: &str, options: NativeReduceOptions, state: Arc<State>) -> CoreResult<Self> {
        let operation: Operation = match name {
            "sum" => |view, _, options| one(reduce::sum(view, options)),
            "prod" => |view, _, options| one(reduce::prod(view, options)),
            "mean" => |view, _, options| one(reduce::mean(view, options)),
            "var" => |view, ddof, options| one(reduce::var(view, ddof, options)),
            "std" => |view, ddof, options| one(reduce::std(view, ddof, options)),
            "min" => |view, _, options| one(reduce::min(view, options)),
            "max" => |view, _, options| one(reduce::max(view, options)),
            "minmax" => |view, _, options| reduce::minmax(view, options).map(|(min, max)| vec![min, max]),
            "argmin" => |view, _, options| one(reduce::argmin(view, options)),
            "argmax" => |view, _, options| one(reduce::argmax(view, options)),
            "any" => |view, _, options| one(reduce::any(view, options)),
            "all" => |view, _, options| one(reduce::all(view, options)),
            "countNonzero" => |view, _, options| one(reduce::count_nonzero(view, options)),
            _ => return Err(CoreError::OutOfRange { reason: format!("there is no reduction {name:?}") }),
        };
        let NativeReduceOptions { axes, keepdims, skip_nan, ddof, threads } = options;
        let axes = axes.map(|axes| axes.into_iter().map(axis).collect::<CoreResult<_>>()).transpose()?;
        let threads = threads.map(|threads| size(threads, "threads")).transpose()?;
        Ok(Self { operation, axes, keepdims, skip_nan, ddof, threads, state })
    }

    /// Reduces the elements of `array` that `layout` reaches; fails when pages of it have vanished.
    pub(crate) fn run(&self, array: &DynMmapArray, layout: &Layout) -> CoreResult<Vec<Reduced>> {
        let options = Options {
            axes: self.axes.as_deref(),
            keepdims: self.keepdims,
            skip_nan: self.skip_nan,
            threads: self.threads,
            control: self.state.control(),
        };
        array.bring(layout, self.state.control())?;
        let reduced = (self.operation)(&buffer::view(array, layout)?, self.ddof, &options)?;
        array.check_loss()?;
        Ok(reduced)
    }
}

/// An axis, counted from the end if negative.
pub(crate) fn axis(axis: f64) -> CoreResult<i64> {
    let magnitude = size(axis.abs(), "axis")?.cast_signed() as i64;
    Ok(if axis < 0.0 { -magnitude } else { magnitude })
}

fn one(reduced: CoreResult<Reduced>) -> CoreResult<Vec<Reduced>> {
    reduced.map(|reduced| vec![reduced])
}
