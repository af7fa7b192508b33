//! A second operand, element by element beside the first.
//!
//! The walk goes through the first operand and says of each run where it is in the second one: in bytes, along the second
//! one's own strides. Where elements lie side by side there as well they are read in place; else they are gathered into a
//! block on the stack, a few at a time.

use super::drive::Place;
use super::load::{Load, Run, Source, Value, Work};
use crate::dtype::ByteOrder;
use crate::error::{Error, Result};
use crate::kernel::{Element, RawView, assign};

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
    pub(super) fn zip<W: Work>(self, run: Run<W>, place: Place, mut visit: impl FnMut(Run<W>, Run<W>)) {
        if self.source.reads_in_place(place.step) {
            // SAFETY:
            // - the place is that of elements of the second operand, as many as the run has: both have one shape.
            // - they lie side by side in the order of this machine: `reads_in_place`.
            let other = unsafe { Run::new(self.source.at(place.first), run.len()) };
            return visit(run, other);
        }
        let mut block = [W::default(); BLOCK];
        self.gathered(run, place, &mut block, |part, values| {
            // SAFETY:
            // - the values are in a slice, which is not written to before the next part.
            visit(part, unsafe { Run::new(values.as_ptr().cast(), values.len()) });
        });
    }

    /// The same for values of another type.
    #[inline(always)]
    pub(super) fn zip_values<W: Work, V: Value>(
        self,
        run: Run<W>,
        place: Place,
        zero: V,
        visit: impl FnMut(Run<W>, &[V]),
    ) {
        self.gathered(run, place, &mut [zero; BLOCK], visit);
    }

    #[inline(always)]
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

/// Vectors up to this many elements are brought into one line first.
const SHORT: usize = 1 << 16;

/// A vector as kernels read it, where that is no more than a small copy: in line, and in the order of this machine.
///
/// `T` is the type of its elements. Those of the result, in `memory` or where they were, are read by the way given.
pub(super) fn in_line<T: Load>(vector: &RawView, memory: &mut Vec<u8>) -> Result<(RawView, Second)>
where
    T::Work: Load<Work = T::Work>,
{
    let whole = Second::of::<T>(vector);
    let stride = vector.strides.first().copied().unwrap_or_default();
    if vector.len() > SHORT || whole.source.reads_in_place(stride) {
        return Ok((vector.clone(), whole));
    }
    let size = size_of::<T::Work>();
    memory.resize(vector.len() * size, 0);
    let line = RawView {
        first: memory.as_mut_ptr(),
        dtype: T::Work::DTYPE,
        byte_order: ByteOrder::NATIVE,
        shape: vector.shape.clone(),
        strides: vec![size.cast_signed(); vector.shape.len()],
    };
    assign(&line, vector)?;
    let second = Second::of::<T::Work>(&line);
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
