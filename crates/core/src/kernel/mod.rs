//! Work on strided memory through raw pointers.
//!
//! JavaScript, other threads and other processes may write the same bytes at any time, so no Rust reference is ever
//! made to them: a kernel loads bytes into registers and stores bytes back. Byte by byte also means that elements
//! need no alignment and may have either byte order. All kernels share one way of walking memory, which
//! turns any layout into as few and as long straight lines as it has.

mod copy;
pub(crate) mod crew;
mod element;
mod fill;
mod reduce;
pub(crate) mod runs;
mod take;

pub use copy::assign;
pub use element::{Bool, Element, Wide};
pub use fill::fill;
pub use reduce::{
    Control, Histogram, Integer, Metric, Options, Reduced, ReducedArray, Scalar, Tolerance, TopK, all,
    all_close, any, argmax, argmin, count_nonzero, dot, equals, histogram, max, mean, min, minmax, prod, std,
    sum, topk, var,
};
pub use take::take;

pub(crate) use take::Taking;

pub(crate) use element::with_type;

use crate::dtype::{ByteOrder, DType, ElementType};
use crate::error::{Error, Result};
use crate::layout::Layout;

/// Strided elements of one dtype, somewhere in memory.
///
/// Every element that the layout reaches lies in the memory that the view was made over; see [`RawView::new`] for
/// who promises that.
#[derive(Clone, Debug)]
pub struct RawView {
    first: *mut u8,
    dtype: DType,
    byte_order: ByteOrder,
    /// Elements along each axis.
    shape: Vec<usize>,
    /// Bytes between neighbours along each axis.
    strides: Vec<isize>,
}

impl RawView {
    /// A view of `layout`, which counts `unit` bytes, over `nbytes` bytes at `base`.
    ///
    /// The unit is the size of an element, or a divisor of it where elements lie at odd distances.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an element that the layout reaches is not wholly inside the bytes.
    ///
    /// # Safety
    /// - `nbytes` bytes from `base` on stay readable, and writable where the view is written to, for as long as the
    ///   view or a copy of it is used.
    /// - Alignment, byte values and writers elsewhere need no promise: kernels load and store single bytes' worth.
    pub unsafe fn new(
        base: *mut u8,
        nbytes: usize,
        unit: usize,
        element: ElementType,
        layout: &Layout,
    ) -> Result<Self> {
        let ElementType { dtype, byte_order, .. } = element;
        let outside = || {
            Error::out_of_range(format!(
                "the layout {layout:?} of {unit} bytes each leaves the {nbytes} bytes it is for"
            ))
        };
        let shape = layout.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| {
            Error::too_large(format!(
                "the shape {:?} has more elements along an axis than a machine of {} bits can count. Take a part of it",
                layout.shape(),
                usize::BITS
            ))
        })?;
        let Some((_, high)) = layout.extent() else {
            // No element: the strides are never used, and the pointer is never moved.
            let strides = vec![0; shape.len()];
            return Ok(Self { first: base, dtype, byte_order, shape, strides });
        };
        let end = usize::try_from(high - 1)
            .ok()
            .and_then(|last| last.checked_mul(unit)?.checked_add(dtype.itemsize()))
            .filter(|&end| end <= nbytes);
        let bytes = |units: i64| isize::try_from(units).ok()?.checked_mul(isize::try_from(unit).ok()?);
        // An axis of one element is never walked along, so its stride, which may be anything, is not used.
        let strides = layout.strides().iter().zip(&shape);
        let strides = strides.map(|(&stride, &n)| if n == 1 { Some(0) } else { bytes(stride) }).collect();
        let offset = usize::try_from(layout.offset()).ok().and_then(|offset| offset.checked_mul(unit));
        let (Some(_), Some(strides), Some(offset)) = (end, strides, offset) else {
            return Err(outside());
        };
        // SAFETY:
        // - the first element is one that the layout reaches, so its byte offset is less than `end`.
        // - the caller promises the bytes up to `end`, so the offset neither overflows nor leaves them.
        let first = unsafe { base.add(offset) };
        Ok(Self { first, dtype, byte_order, shape, strides })
    }

    /// The dtype of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The lowest address reached and the first one past the highest; nothing for no elements.
    fn span(&self) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        let (mut low, mut high) = (self.first.addr(), self.first.addr() + self.dtype.itemsize());
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = stride.unsigned_abs() * (n - 1);
            if stride < 0 { low -= reach } else { high += reach }
        }
        Some((low, high))
    }
}

/// Loads the element at `address`, whose bytes are reversed where `swap` says so.
///
/// # Safety
/// The element's bytes at `address` are readable.
#[inline]
unsafe fn load<T: Element>(address: *const u8, swap: bool) -> T {
    // SAFETY:
    // - the bytes are readable: promised by the caller.
    // - an array of bytes has alignment 1 and no invalid value.
    // - not protected: with another writer at work the bytes may be a mixture of old and new.
    let mut bytes = unsafe { address.cast::<T::Bytes>().read() };
    if swap {
        bytes.as_mut().reverse();
    }
    T::from_bytes(bytes)
}

/// Stores `value` at `address`, its bytes reversed where `swap` says so.
///
/// # Safety
/// The element's bytes at `address` are writable.
#[inline]
unsafe fn store<T: Element>(address: *mut u8, value: T, swap: bool) {
    let mut bytes = value.to_bytes();
    if swap {
        bytes.as_mut().reverse();
    }
    // SAFETY:
    // - the bytes are writable: promised by the caller.
    // - an array of bytes has alignment 1.
    unsafe { address.cast::<T::Bytes>().write(bytes) };
}

/// Asks for the first of some bytes, up to a page of them, which are needed soon and which the processor does not foresee.
#[inline]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(unused_variables, reason = "there is nothing stable to ask with")
)]
fn prefetch(at: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..len.min(1 << 12)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY:
        // - a prefetch of any address is allowed: it neither faults nor gives a value.
        // - not protected: nothing needs to be.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(line).cast()) };
    }
}
