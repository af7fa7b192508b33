//! Rows of an array by their indices, and what the system is told meanwhile.

use super::DynMmapArray;
use crate::error::Result;
use crate::kernel::{Options, RawView, ReducedArray, Taking};
use crate::layout::Layout;

impl DynMmapArray {
    /// The elements of `layout` at these `indices` along `axis`, as [`kernel::take`](crate::kernel::take) gives them.
    ///
    /// Of a file that is not mapped the rows are read that are asked for, and no others.
    ///
    /// Of rows here and there the system reads no more than is touched: `take` says so, for the time of the call, of pages
    /// of which no [`advise`](Self::advise) has said anything else than `Normal`.
    ///
    /// # Errors
    /// Those of `kernel::take`; [`Error::OutOfRange`](crate::Error::OutOfRange) if the layout reaches outside the array. Pages
    /// that have vanished are none: see [`check_loss`](Self::check_loss).
    pub fn take(
        &self,
        layout: &Layout,
        indices: &RawView,
        axis: i64,
        options: &Options,
    ) -> Result<ReducedArray> {
        // SAFETY:
        // - the mapping lives as long as `self`, and the view ends in this function.
        let view = unsafe { self.places(layout) }?;
        let taking = Taking::new(&view, indices, axis)?;
        if self.is_copied() {
            for row in taking.rows_of(layout) {
                self.bring(&row?, options.control)?;
            }
        }
        let _advised = taking.is_scattered().then(|| self.gathering(layout));
        taking.run(options)
    }
}
