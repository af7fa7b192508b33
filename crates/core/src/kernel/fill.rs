//! One value into every element.

use super::{Element, RawView, runs::for_each_run, store, with_type};
use crate::error::{Error, Result};

/// Stores one element, given as its bytes in the order of this machine, into every element of `target`.
///
/// # Errors
/// [`Error::OutOfRange`] if `element` is not `itemsize` bytes long.
pub fn fill(target: &RawView, element: &[u8]) -> Result<()> {
    let swap = !target.byte_order.is_native();
    with_type!(target.dtype, T => {
        let Ok(bytes) = <T as Element>::Bytes::try_from(element) else {
            return Err(Error::out_of_range(format!(
                "one element of {} has {} bytes, got {}", target.dtype, target.dtype.itemsize(), element.len()
            )));
        };
        let value = T::from_bytes(bytes);
        for_each_run(&target.shape, [&target.strides], &mut |[offset], n, [stride]| {
            for i in 0..n.cast_signed() {
                let address = target.first.wrapping_offset(offset + i * stride);
                // SAFETY:
                // - `for_each_run` stays inside shape and strides, and RawView::new has proved every element of
                //   those to lie in memory that its maker promised to be writable.
                unsafe { store(address, value, swap) };
            }
        });
    });
    Ok(())
}
