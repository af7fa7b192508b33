//! Elements by their indices along one axis, into new memory.
//!
//! What one index takes is copied whole where it lies in one line, which is as wide as copies get; threads share the
//! rows of the result, a mebibyte at a time.

use std::ops::Range;

use super::crew::{CHUNK, Halt, share};
use super::reduce::{Options, ReducedArray};
use super::runs::Lines;
use super::{Element, RawView, Wide, load, prefetch, store, with_type};
use crate::advice::scattered::is_scattered;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::sys;

/// The elements of `view` at these `indices` along `axis`, both of which count from the end if negative.
///
/// The result has the view's dtype, and the axes of `indices`, which are integers or floats without a fraction, in the
/// place of `axis`. Of `options`, threads and control count.
///
/// # Errors
/// [`Error::OutOfRange`] for an axis that the view has not, and for an index outside it, which is named by its place in
/// C order; [`Error::TooLarge`] where the result does not fit into memory; [`Error::Aborted`].
pub fn take(view: &RawView, indices: &RawView, axis: i64, options: &Options) -> Result<ReducedArray> {
    Taking::new(view, indices, axis)?.run(options)
}

/// A [`take`] whose indices are checked.
pub(crate) struct Taking<'a> {
    rows: Rows<'a>,
    axis: usize,
    shape: Vec<u64>,
}

impl<'a> Taking<'a> {
    /// # Errors
    /// Those of [`take`].
    pub(crate) fn new(view: &'a RawView, indices: &RawView, axis: i64) -> Result<Self> {
        let ndim = view.shape.len();
        let from_start = if axis < 0 { axis.checked_add_unsigned(ndim as u64) } else { Some(axis) };
        let axis = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < ndim);
        let axis = axis.ok_or_else(|| {
            Error::out_of_range(format!(
                "the axis is not one of the {ndim} of the view; \
                 expected an integer from -{ndim} to {ndim} - 1"
            ))
        })?;
        let rows = Rows::new(view, axis, resolve(indices, view.shape[axis])?);
        let shape: Vec<u64> = view.shape[..axis]
            .iter()
            .chain(&indices.shape)
            .chain(&view.shape[axis + 1..])
            .map(|&n| n as u64)
            .collect();
        Ok(Self { rows, axis, shape })
    }

    /// What each index takes of the elements of `layout`, which is that of the view.
    ///
    /// # Errors
    /// None, where it is.
    pub(crate) fn rows_of(&self, layout: &Layout) -> impl Iterator<Item = Result<Layout>> {
        let mut shape = layout.shape().to_vec();
        shape[self.axis] = 1;
        let stride = layout.strides()[self.axis];
        self.rows.indices.iter().map(move |&index| {
            let place = i64::try_from(index).ok().and_then(|index| index.checked_mul(stride));
            let offset = place.and_then(|place| layout.offset().checked_add_signed(place));
            let offset = offset.ok_or_else(|| Error::out_of_range("an index past the end of the memory"))?;
            Layout::new(offset, shape.clone(), layout.strides().to_vec(), u64::MAX)
        })
    }

    /// Whether they lie here and there in memory.
    pub(crate) fn is_scattered(&self) -> bool {
        let Rows { indices, stride, len, dtype, .. } = &self.rows;
        let places = indices.iter().map(|&index| index.cast_signed() * stride);
        is_scattered(len.saturating_mul(dtype.itemsize()), places)
    }

    /// # Errors
    /// Those of [`take`].
    pub(crate) fn run(self, options: &Options) -> Result<ReducedArray> {
        let Self { rows, shape, .. } = self;
        let dtype = rows.dtype;
        let too_large = || {
            Error::too_large(format!(
                "a result of shape {shape:?} and dtype {dtype} does not fit into memory; take fewer at once"
            ))
        };
        let nbytes = shape.iter().try_fold(dtype.itemsize() as u64, |nbytes, &n| nbytes.checked_mul(n));
        // A length of 0 makes it 0, whatever the others.
        let nbytes = if shape.contains(&0) { Some(0) } else { nbytes };
        let nbytes = nbytes.and_then(|nbytes| usize::try_from(nbytes).ok()).ok_or_else(too_large)?;
        let mut data = Vec::new();
        data.try_reserve_exact(nbytes).map_err(|_| too_large())?;
        if nbytes > 0 {
            // SAFETY:
            // - `nbytes` of new memory.
            unsafe { sys::prefer_large_pages(data.as_mut_ptr(), nbytes) };
            rows.copy_to(Address(data.as_mut_ptr()), options)?;
            // SAFETY:
            // - there is room for `nbytes`, and every one of them has been written: the rows are all there is.
            unsafe { data.set_len(nbytes) };
        }
        Ok(ReducedArray { dtype, shape, data })
    }
}

/// Indices from the start, in C order.
fn resolve(indices: &RawView, len: usize) -> Result<Vec<usize>> {
    let mut resolved = Vec::new();
    resolved.try_reserve_exact(indices.len()).map_err(|_| {
        Error::too_large(format!("{} indices do not fit into memory; take fewer at once", indices.len()))
    })?;
    let swap = !indices.byte_order.is_native();
    with_type!(indices.dtype, T => {
        in_c_order(indices, |at| {
            // SAFETY:
            // - an element of the view, readable while it is used.
            let index = unsafe { load::<T>(at, swap) }.widen();
            let place = resolved.len();
            resolved.push(from_start(index, len).ok_or_else(|| {
                let shown = shown(index);
                Error::out_of_range(if len == 0 {
                    format!("indices[{place}] is {shown}; there is nothing along an axis of length 0")
                } else {
                    format!("indices[{place}] is {shown}; expected an integer from -{len} to {len} - 1")
                })
            })?);
            Ok(())
        })?;
    });
    Ok(resolved)
}

#[expect(clippy::cast_possible_truncation, reason = "a float without a fraction; beyond 2^127 it saturates")]
fn from_start(index: Wide, len: usize) -> Option<usize> {
    let index = match index {
        Wide::Signed(index) => index.into(),
        Wide::Unsigned(index) => index.into(),
        Wide::Float(index) if index.fract() == 0.0 => index as i128,
        Wide::Float(_) => return None,
    };
    let index = if index < 0 { index.checked_add(len as i128)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < len)
}

fn shown(index: Wide) -> String {
    match index {
        Wide::Signed(index) => index.to_string(),
        Wide::Unsigned(index) => index.to_string(),
        Wide::Float(index) => index.to_string(),
    }
}

/// Calls `visit` with the address of each element.
fn in_c_order(view: &RawView, mut visit: impl FnMut(*const u8) -> Result<()>) -> Result<()> {
    for i in 0..view.len() {
        let (mut rest, mut offset) = (i, 0);
        for (&n, &stride) in view.shape.iter().zip(&view.strides).rev() {
            offset += (rest % n).cast_signed() * stride;
            rest /= n;
        }
        visit(view.first.wrapping_offset(offset))?;
    }
    Ok(())
}

/// Where bytes are that several workers read, or that each of them writes its own part of.
#[derive(Clone, Copy)]
struct Address(*mut u8);

// SAFETY:
// - only unsafe functions use what is there, and their callers say why they may.
unsafe impl Send for Address {}
// SAFETY:
// - as above.
unsafe impl Sync for Address {}

impl Address {
    fn at(self, offset: isize) -> *mut u8 {
        self.0.wrapping_offset(offset)
    }
}

/// The rows of the result: what one index takes, for each place on the axes before.
struct Rows<'a> {
    first: Address,
    dtype: DType,
    swap: bool,
    /// Elements along the axes before, and bytes between neighbours.
    before: (&'a [usize], &'a [isize]),
    /// Bytes between neighbours along the axis.
    stride: isize,
    indices: Vec<usize>,
    /// Elements of a row.
    len: usize,
    /// How a row lies in the view and in the result, in bytes; nothing for rows without elements.
    lines: Option<Lines<2>>,
}

impl<'a> Rows<'a> {
    fn new(view: &'a RawView, axis: usize, indices: Vec<usize>) -> Self {
        let (shape, strides) = (&view.shape[axis + 1..], &view.strides[axis + 1..]);
        let mut packed = vec![0_isize; shape.len()];
        let mut step = view.dtype.itemsize().cast_signed();
        for (packed, &n) in packed.iter_mut().zip(shape).rev() {
            *packed = step;
            step = step.saturating_mul(n.cast_signed());
        }
        Self {
            first: Address(view.first),
            dtype: view.dtype,
            swap: !view.byte_order.is_native(),
            before: (&view.shape[..axis], &view.strides[..axis]),
            stride: view.strides[axis],
            indices,
            len: shape.iter().product(),
            lines: (!shape.contains(&0)).then(|| Lines::new(shape, [strides, &packed])),
        }
    }

    /// The byte where a row starts, counted from the view's first element.
    fn start(&self, row: usize) -> isize {
        let n = self.indices.len();
        let mut offset = self.indices[row % n].cast_signed() * self.stride;
        let mut rest = row / n;
        let (shape, strides) = self.before;
        for (&n, &stride) in shape.iter().zip(strides).rev() {
            offset += (rest % n).cast_signed() * stride;
            rest /= n;
        }
        offset
    }

    /// Writes all rows, of which there is at least one, and each has elements.
    fn copy_to(&self, target: Address, options: &Options) -> Result<()> {
        let total = self.before.0.iter().product::<usize>() * self.indices.len();
        let size = self.dtype.itemsize();
        // Rows are put together until they are a chunk, and cut where one is more.
        let many = (CHUNK / size / self.len).max(1);
        let part = self.len.min(CHUNK / size);
        let parts = self.len.div_ceil(part);
        let halt = Halt::new(options.control);
        share(total.div_ceil(many) * parts, options.threads, &halt, |next| {
            while let Some(chunk) = next() {
                let first = chunk / parts * many;
                let rows = first..total.min(first + many);
                let from = chunk % parts * part;
                let elements = from..self.len.min(from + part);
                halt.add(rows.len() * elements.len());
                let last = rows.end - 1;
                with_type!(self.dtype, T => for row in rows {
                    if row < last {
                        // The processor sees no order in rows.
                        prefetch(self.first.at(self.start(row + 1)), self.len * size);
                    }
                    let to = target.at((row * self.len * size).cast_signed());
                    self.copy_row::<T>(self.start(row), to, elements.clone());
                });
            }
        });
        if options.control.is_cancelled() { Err(Error::Aborted) } else { Ok(()) }
    }

    /// Writes some elements of the row that starts `start` bytes from the view's first element, and at `to`.
    fn copy_row<T: Element>(&self, start: isize, to: *mut u8, elements: Range<usize>) {
        let Some(lines) = &self.lines else { return };
        let (size, swap) = (size_of::<T>(), self.swap);
        let is_same = !swap && T::DTYPE != DType::Bool;
        let from = self.first.at(start);
        lines.visit(elements, &mut |[offset, place], n, [stride, step]| {
            let (from, to) = (from.wrapping_offset(offset), to.wrapping_offset(place));
            if is_same && [stride, step] == [size.cast_signed(); 2] {
                // SAFETY:
                // - `n` elements of the view lie side by side from `from` on, readable while the view is used.
                // - there is room for as many from `to` on, in new memory that nobody else writes this part of.
                unsafe { std::ptr::copy_nonoverlapping(from, to, n * size) };
                return true;
            }
            for i in 0..n.cast_signed() {
                // SAFETY:
                // - the `i`-th element of a run of the view, readable while it is used.
                let value: T = unsafe { load(from.wrapping_offset(i * stride), swap) };
                // SAFETY:
                // - its place in the result, in new memory that nobody else writes this part of.
                unsafe { store(to.wrapping_offset(i * step), plain(value), false) };
            }
            true
        });
    }
}

/// The same element, its truth as 0 or 1.
#[inline]
fn plain<T: Element>(value: T) -> T {
    if T::DTYPE == DType::Bool { T::narrow(value.widen()) } else { value }
}
