//! Work on an open array and a second operand, here or on a thread.

use std::sync::Arc;

use mmap_ndarray_core::kernel::{
    self, Histogram, Metric, Options, RawView, Reduced, ReducedArray, Scalar, Tolerance, TopK,
};
use mmap_ndarray_core::{DType, DynMmapArray, ElementType, Error as CoreError, Layout, Result as CoreResult};
use napi::bindgen_prelude::{ClassInstance, Object, Unknown};
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::buffer;
use crate::convert::{NativeLayout, size};
use crate::error::js_error;
use crate::reduce::{NativeJob, NativeReduced, State, axis};
use crate::task;

/// What to do, and how; what an operation has no use for is left out.
#[napi(object)]
pub struct NativeSearchOptions {
    /// take, topk, dot, histogram, equals or allClose.
    pub name: String,
    /// take: the axis.
    pub axis: Option<f64>,
    /// topk: how many rows.
    pub k: Option<f64>,
    /// topk: dot, cosine or l2.
    pub metric: Option<String>,
    /// histogram: how many bins.
    pub bins: Option<f64>,
    /// histogram: where the first bin begins and the last one ends.
    pub range: Option<Vec<f64>>,
    /// allClose: the relative tolerance.
    pub rtol: Option<f64>,
    /// allClose: the absolute tolerance.
    pub atol: Option<f64>,
    /// equals and allClose: NaN equals NaN.
    pub equal_nan: Option<bool>,
    /// The most threads to use.
    pub threads: Option<f64>,
}

/// A second operand: elements of another open array, or of bytes, which are copied.
#[napi(object, object_to_js = false)]
pub struct NativeOperand<'env> {
    /// Long name of the dtype.
    pub dtype: String,
    /// Where the elements are.
    pub layout: NativeLayout,
    /// The array that they are in.
    #[napi(ts_type = "NativeArray")]
    pub array: Option<ClassInstance<'env, NativeArray>>,
    /// The bytes that they are in.
    #[napi(ts_type = "Uint8Array")]
    pub bytes: Option<Unknown<'env>>,
}

/// A second operand that is good on any thread.
enum Operand {
    None,
    Mapped(Box<DynMmapArray>, Layout),
    Memory(Vec<u8>, DType, Layout),
}

/// An operation with all that it needs, ready to run on any thread.
pub(crate) struct Search {
    options: NativeSearchOptions,
    operand: Operand,
    state: Arc<State>,
}

impl Search {
    /// Does it on the elements of `array` that `layout` reaches; fails when pages of it or the operand have vanished.
    fn run(mut self, array: &DynMmapArray, layout: &Layout) -> CoreResult<Vec<Reduced>> {
        if let Operand::Mapped(array, layout) = &self.operand {
            array.bring(layout, self.state.control())?;
        }
        let other = match &mut self.operand {
            Operand::None => None,
            Operand::Mapped(array, layout) => Some(buffer::view(array, layout)?),
            Operand::Memory(bytes, dtype, layout) => Some(buffer::owned(bytes).laid_out(*dtype, layout)?),
        };
        let results = self.results(array, layout, other.as_ref())?;
        array.check_loss()?;
        if let Operand::Mapped(array, _) = &self.operand {
            array.check_loss()?;
        }
        Ok(results)
    }

    fn results(
        &self,
        array: &DynMmapArray,
        layout: &Layout,
        other: Option<&RawView>,
    ) -> CoreResult<Vec<Reduced>> {
        let given = &self.options;
        let threads = given.threads.map(|threads| size(threads, "threads")).transpose()?;
        let options = Options { threads, control: self.state.control(), ..Options::default() };
        let view = || {
            array.bring(layout, options.control)?;
            buffer::view(array, layout)
        };
        let other = || other.ok_or_else(|| missing("the other operand"));
        let equal_nan = given.equal_nan.unwrap_or_default();
        Ok(match given.name.as_str() {
            "take" => {
                let axis = axis(given.axis.unwrap_or_default())?;
                vec![Reduced::Array(array.take(layout, other()?, axis, &options)?)]
            }
            "topk" => {
                let k = size(given.k.ok_or_else(|| missing("k"))?, "k")?;
                let metric = Metric::parse(given.metric.as_deref().unwrap_or("dot"))?;
                let TopK { indices, scores } = kernel::topk(&view()?, other()?, k, metric, &options)?;
                vec![list(indices.iter().map(|&index| index as u64)), floats(&scores)]
            }
            "dot" => vec![kernel::dot(&view()?, other()?, &options)?],
            "histogram" => {
                let bins = size(given.bins.ok_or_else(|| missing("bins"))?, "bins")?;
                let range = match given.range.as_deref() {
                    None => None,
                    Some(&[low, high]) => Some((low, high)),
                    Some(_) => return Err(missing("one of the two ends of range")),
                };
                let Histogram { counts, edges } = kernel::histogram(&view()?, bins, range, &options)?;
                vec![list(counts.into_iter()), floats(&edges)]
            }
            "equals" => vec![truth(kernel::equals(&view()?, other()?, equal_nan, &options)?)],
            "allClose" => {
                let relative = given.rtol.ok_or_else(|| missing("rtol"))?;
                let absolute = given.atol.ok_or_else(|| missing("atol"))?;
                let tolerance = Tolerance { relative, absolute, equal_nan };
                vec![truth(kernel::all_close(&view()?, other()?, tolerance, &options)?)]
            }
            name => return Err(CoreError::OutOfRange { reason: format!("there is no operation {name:?}") }),
        })
    }
}

fn missing(what: &str) -> CoreError {
    CoreError::OutOfRange { reason: format!("{what} is missing; expected it for this operation") }
}

fn truth(value: bool) -> Reduced {
    Reduced::Scalar(Scalar::Bool(value))
}

fn floats(values: &[f64]) -> Reduced {
    let data = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    Reduced::Array(ReducedArray { dtype: DType::Float64, shape: vec![values.len() as u64], data })
}

/// Counts as floats: of elements in memory, so that none is beyond 2^53.
#[expect(clippy::cast_precision_loss, reason = "no more than the addresses of a process")]
fn list(counts: impl Iterator<Item = u64>) -> Reduced {
    floats(&counts.map(|count| count as f64).collect::<Vec<_>>())
}

#[napi]
impl NativeArray {
    /// Does an operation on the elements of `layout`, and those of the operand where it has one.
    #[napi(catch_unwind)]
    pub fn search_sync(
        &self,
        env: Env,
        layout: NativeLayout,
        operand: Option<NativeOperand>,
        options: NativeSearchOptions,
    ) -> Result<Vec<NativeReduced>> {
        let operand = operand_of(&env, operand)?;
        let search = Search { options, operand, state: Arc::default() };
        self.with(&env, |open| {
            let layout = layout.check(open.array.units())?;
            search.run(&open.array, &layout)?.into_iter().map(NativeReduced::new).collect()
        })
    }

    /// As `searchSync`, without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<Array<NativeReduced>>")]
    pub fn search<'env>(
        &self,
        env: &'env Env,
        layout: NativeLayout,
        operand: Option<NativeOperand>,
        options: NativeSearchOptions,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let operand = operand_of(env, operand)?;
        let search = Search { options, operand, state: job.state() };
        let (array, layout) =
            self.with(env, |open| Ok((open.array.clone(), layout.check(open.array.units())?)))?;
        task::promise(
            env,
            &task::KERNELS,
            move || search.run(&array, &layout),
            |env, results| {
                let results = results.into_iter().map(NativeReduced::new).collect::<CoreResult<Vec<_>>>();
                results.map_err(|error| js_error(env, error))
            },
        )
    }
}

/// The operand as something that outlives the call: a share of the other mapping, or a copy.
fn operand_of(env: &Env, operand: Option<NativeOperand>) -> Result<Operand> {
    let Some(NativeOperand { dtype, layout, array, bytes }) = operand else { return Ok(Operand::None) };
    if let Some(array) = array {
        return array.with(env, |open| {
            Ok(Operand::Mapped(Box::new(open.array.clone()), layout.check(open.array.units())?))
        });
    }
    let bytes = bytes.map(|bytes| buffer::copy_bytes(env, &bytes)).transpose()?.unwrap_or_default();
    let checked = ElementType::parse(&dtype).and_then(|element| {
        let layout = layout.check((bytes.len() / element.dtype.itemsize()) as u64)?;
        Ok(Operand::Memory(bytes, element.dtype, layout))
    });
    checked.map_err(|error| js_error(env, error))
}
