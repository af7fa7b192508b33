//! A second operand, element by element beside the first.
//!
//! The walk goes through the first operand and says of each run where it is in the second one: in bytes, along the second
//! one's own strides. Where elements lie side by side there as well they are read in place; else they are gathered into a
//! block on the stack, a few at a time.

use super::drive::Place;
use super::load::{Load, Run, Source, Value, Work};
use crate::dtype::{ByteOrder, DType};
use crate::error::{Error, Result};
use crate::kernel::{RawView, assign};

/// Elements of a block.
const BLOCK: usize = 512;

/// The second operand as a fold has it. Whoever runs the fold keeps the view alive meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Second {
    source: Source,
}

impl Second {
    /// Elements of the same type as those of the first operand.
    pub(super) fn of<T: Load>(view: &RawView) -> Self {
        Self { source: Source::of::<T>(view) }
    }

    /// Elements of any type, read as values of one.
    pub(super) fn converted<V: Value>(view: &RawView) -> Self {
        Self { source: Source::converted::<V>(view) }
    }

    /// Calls `visit` with parts of `run` and the same elements of the second operand, both of one length.
    #[inline(always)]
    pub(super) fn zip<W: Work, V: Work>(
        self,
        run: Run<W>,
        place: Place,
        mut visit: impl FnMut(Run<W>, Run<V>),
    ) {
        if self.source.reads_in_place(place.step) {
            // SAFETY:
            // - the place is that of elements of the second operand, as many as the run has: both have one shape.
            // - they lie side by side in the order of this machine: `reads_in_place`.
            let other = unsafe { Run::new(self.source.at(place.first), run.len()) };
            return visit(run, other);
        }
        self.zip_values(run, place, V::default(), |part, values| {
            // SAFETY:
            // - the values are in a slice, which is not written to before the next part.
            visit(part, unsafe { Run::new(values.as_ptr().cast(), values.len()) });
        });
    }

    /// The same for values, which are never in place.
    #[inline(always)]
    pub(super) fn zip_values<W: Work, V: Copy>(
        self,
        run: Run<W>,
        place: Place,
        zero: V,
        visit: impl FnMut(Run<W>, &[V]),
    ) {
        self.gathered(run, place, &mut [zero; BLOCK], visit);
    }

    /// Apart, so that a walk that reads in place does not pay for the block.
    #[inline(never)]
    fn gathered<W: Work, V>(
        self,
        run: Run<W>,
        place: Place,
        block: &mut [V],
        mut visit: impl FnMut(Run<W>, &[V]),
    ) {
        let mut first = place.first;
        for part in run.parts(block.len()) {
            let block = &mut block[..part.len()];
            // SAFETY:
            // - the place is that of elements of the second operand, as many as the run has: both have one shape.
            // - a block of their type: that of the constructor.
            unsafe { self.source.gather_into(first, place.step, block) };
            visit(part, block);
            first += place.step * part.len().cast_signed();
        }
    }

    /// The element at a place.
    #[inline(always)]
    pub(super) fn get<W: Work>(self, place: isize) -> W {
        let mut one = [W::default()];
        // SAFETY:
        // - the place is that of an element of the second operand.
        // - a block of its type: that of the constructor.
        unsafe { self.source.gather_into(place, 0, &mut one) };
        let [one] = one;
        one
    }
}

/// A vector as float64 in one line, for a walk that meets each of its elements many times. `memory` holds them.
pub(super) fn in_line(vector: &RawView, memory: &mut Vec<f64>) -> Result<(RawView, Second)> {
    memory.try_reserve_exact(vector.len()).map_err(|_| {
        Error::too_large(format!("a copy of a vector of {} elements does not fit into memory", vector.len()))
    })?;
    memory.resize(vector.len(), 0.0);
    let line = RawView {
        first: memory.as_mut_ptr().cast(),
        dtype: DType::Float64,
        byte_order: ByteOrder::NATIVE,
        shape: vector.shape.clone(),
        strides: vec![size_of::<f64>().cast_signed(); vector.shape.len()],
    };
    assign(&line, vector)?;
    let second = Second::of::<f64>(&line);
    Ok((line, second))
}

/// Refuses a second operand of another dtype.
pub(super) fn require_same_dtype(view: &RawView, other: &RawView) -> Result<()> {
    if view.dtype == other.dtype {
        return Ok(());
    }
    Err(Error::invalid_value(format!(
        "the other operand is of dtype {}, the view of {}; convert it first",
        other.dtype, view.dtype
    )))
}

/// Refuses a vector that does not go along the last axis of a view.
pub(super) fn require_vector(view: &RawView, vector: &RawView) -> Result<()> {
    if let (Some(&n), [len]) = (view.shape.last(), vector.shape.as_slice())
        && n == *len
    {
        return Ok(());
    }
    Err(Error::invalid_value(format!(
        "the other operand has shape {:?}, the view {:?}; expected a vector as long as the view's last axis",
        vector.shape, view.shape
    )))
}

/// The strides of a vector that is repeated along all axes of a view but the last.
pub(super) fn repeated(view: &RawView, vector: &RawView) -> Vec<isize> {
    let mut strides = vec![0; view.shape.len()];
    if let (Some(last), Some(&stride)) = (strides.last_mut(), vector.strides.first()) {
        *last = stride;
    }
    strides
}
