//! Elements from one view into another, whatever their dtypes, layouts and byte orders.

use std::collections::TryReserveError;

use super::{Element, RawView, load, runs::for_each_run, store, with_type};
use crate::dtype::{ByteOrder, DType};
use crate::error::{Error, Result};

/// Copies `source` into `target`, element by element, as if all of it had been read before the first store.
///
/// Values are converted as a typed array would: integers wrap, floats round, NaN becomes 0 in an integer, and truth
/// is "not zero". Views that overlap need memory for a copy of the source only where no order of copying is right.
///
/// # Errors
/// [`Error::OutOfRange`] if the shapes differ, [`Error::TooLarge`] if the copy of the source does not fit into memory.
pub fn assign(target: &RawView, source: &RawView) -> Result<()> {
    if target.shape != source.shape {
        return Err(Error::out_of_range(format!(
            "source has shape {:?}, target has {:?}; they must be equal",
            source.shape, target.shape
        )));
    }
    if !overlap(target, source) {
        convert(target, source);
        return Ok(());
    }
    if same_elements(target, source) && is_simple(target) {
        // One is the other, moved: copy towards the side that the source is moved away from.
        if target.first.addr() > source.first.addr() {
            let last = |view: &RawView| {
                view.strides.iter().zip(&view.shape).map(|(s, n)| s * (n - 1).cast_signed()).sum()
            };
            let reversed = |view: &RawView| RawView {
                first: view.first.wrapping_offset(last(view)),
                strides: view.strides.iter().map(|stride| -stride).collect(),
                ..view.clone()
            };
            convert(&reversed(target), &reversed(source));
        } else {
            convert(target, source);
        }
        return Ok(());
    }
    let mut memory = Vec::new();
    let copy = detached(source, &mut memory).map_err(|_| {
        Error::too_large(format!(
            "source and target overlap, and a copy of the source needs {} bytes of memory; \
             assign in smaller parts",
            source.len().saturating_mul(source.dtype.itemsize())
        ))
    })?;
    convert(&copy, source);
    convert(target, &copy);
    Ok(())
}

fn overlap(a: &RawView, b: &RawView) -> bool {
    match (a.span(), b.span()) {
        (Some((a_low, a_high)), Some((b_low, b_high))) => a_low < b_high && b_low < a_high,
        _ => false,
    }
}

/// Whether both views read the same dtype with the same strides.
fn same_elements(a: &RawView, b: &RawView) -> bool {
    a.dtype == b.dtype && a.byte_order == b.byte_order && a.strides == b.strides
}

/// Whether walking the view in the order of `runs` walks its addresses strictly upwards.
fn is_simple(view: &RawView) -> bool {
    let mut axes: Vec<(isize, usize)> = view
        .strides
        .iter()
        .zip(&view.shape)
        .filter(|&(_, &n)| n > 1)
        .map(|(&stride, &n)| (stride, n))
        .collect();
    axes.sort_unstable();
    let mut reach = view.dtype.itemsize().cast_signed();
    axes.iter().all(|&(stride, n)| {
        let apart = stride >= reach;
        reach = reach.max(stride * n.cast_signed());
        apart
    })
}

/// A contiguous view of new memory, of the source's shape and dtype, in the order of this machine.
fn detached(source: &RawView, memory: &mut Vec<u8>) -> Result<RawView, TryReserveError> {
    let itemsize = source.dtype.itemsize();
    let len = source.len().saturating_mul(itemsize);
    memory.try_reserve_exact(len)?;
    memory.resize(len, 0);
    let mut strides = vec![0; source.shape.len()];
    let mut step = itemsize.cast_signed();
    for (stride, n) in strides.iter_mut().zip(&source.shape).rev() {
        *stride = step;
        step *= n.cast_signed();
    }
    Ok(RawView {
        first: memory.as_mut_ptr(),
        dtype: source.dtype,
        byte_order: ByteOrder::NATIVE,
        shape: source.shape.clone(),
        strides,
    })
}

fn convert(target: &RawView, source: &RawView) {
    let swap_target = !target.byte_order.is_native();
    let swap_source = !source.byte_order.is_native();
    // Truth is normalised: a byte other than 0 and 1 is true, and becomes 1.
    if target.dtype == source.dtype && swap_target == swap_source && target.dtype != DType::Bool {
        return copy(target, source);
    }
    with_type!(source.dtype, S => with_type!(target.dtype, T => {
        walk(target, source, |to, from| {
            // SAFETY:
            // - `walk` gives addresses of elements of `source`. They are readable: RawView::new has proved it, and
            //   `detached` and the reversal in `assign` make views of the same elements or of memory of their own.
            let value: S = unsafe { load(from, swap_source) };
            // SAFETY:
            // - likewise an element of `target`, in memory that its maker promised to be writable, or in `memory`.
            unsafe { store(to, T::narrow(Element::widen(value)), swap_target) };
        });
    }));
}

/// The same bytes in both views: no conversion, whole runs at once where both are contiguous.
fn copy(target: &RawView, source: &RawView) {
    let itemsize = target.dtype.itemsize();
    with_type!(target.dtype, T => {
        for_each_run(&target.shape, [&target.strides, &source.strides], &mut |offsets, n, strides| {
            let [to, from] = starts(target, source, offsets);
            if strides == [itemsize.cast_signed(); 2] {
                // SAFETY:
                // - `n` elements from `from` on are elements of `source`, readable; from `to` on
                //   elements of `target`, writable: both as in `convert`.
                // - `copy` allows the two to overlap, and bytes need no alignment.
                unsafe { std::ptr::copy(from, to, n * itemsize) };
                return;
            }
            for i in 0..n.cast_signed() {
                let [to_step, from_step] = strides.map(|stride| stride * i);
                // SAFETY:
                // - the `i`-th element of a run of `source`, readable as in `convert`.
                let value: T = unsafe { load(from.wrapping_offset(from_step), false) };
                // SAFETY:
                // - the `i`-th element of a run of `target`, writable as in `convert`.
                unsafe { store(to.wrapping_offset(to_step), value, false) };
            }
        });
    });
}

/// Calls `visit` with the address of each element of `target` and of its partner in `source`.
#[inline]
fn walk(target: &RawView, source: &RawView, mut visit: impl FnMut(*mut u8, *const u8)) {
    for_each_run(
        &target.shape,
        [&target.strides, &source.strides],
        &mut |offsets, n, [to_stride, from_stride]| {
            let [to, from] = starts(target, source, offsets);
            for i in 0..n.cast_signed() {
                visit(to.wrapping_offset(to_stride * i), from.wrapping_offset(from_stride * i));
            }
        },
    );
}

fn starts(target: &RawView, source: &RawView, [to, from]: [isize; 2]) -> [*mut u8; 2] {
    [target.first.wrapping_offset(to), source.first.wrapping_offset(from)]
}
