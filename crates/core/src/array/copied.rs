//! Arrays whose file is not mapped: which of its blocks a layout needs, and which bytes a store has changed.
//!
//! See [`crate::mapping`] for where the bytes are meanwhile. Of an array that is mapped nothing is to be brought, and
//! nothing marked.

use std::ops::Range;

use super::DynMmapArray;
use crate::dirty::Elements;
use crate::error::{Error, Result};
use crate::kernel::{Control, RawView};
use crate::layout::Layout;

impl DynMmapArray {
    /// Whether the file is not mapped, but read and written as [`OpenOptions::map`](super::OpenOptions::map) says.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.mapping.is_copied()
    }

    /// Reads what `layout` reaches from a file that is not mapped, where that was not read before; nothing to do for one
    /// that is. [`raw`](Self::raw) does it as well: this is for work that somebody may want to stop.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array; [`Error::Io`] with what the system said of the file, or
    /// of the temporary one (`ENOSPC`); [`Error::Closed`]; [`Error::Aborted`].
    pub fn bring(&self, layout: &Layout, control: Control) -> Result<()> {
        self.each_part(layout, &mut |part| self.mapping.bring(&part, control))
    }

    /// Calls `store` with the elements that `layout` reaches, for kernels that store to them.
    ///
    /// # Errors
    /// Those of [`raw`](Self::raw), and of `store`; [`Error::Io`] where the file is not mapped, and there is no space for
    /// what was stored before.
    ///
    /// # Safety
    /// The view and its copies are not used after `store` has returned.
    pub unsafe fn store(&self, layout: &Layout, store: impl FnOnce(&RawView) -> Result<()>) -> Result<()> {
        self.mapping.relieve()?;
        self.each_part(layout, &mut |part| self.mapping.prepare(&part))?;
        // SAFETY:
        // - the mapping lives as long as `self`, and the view ends in this function, as the caller promises of copies.
        let view = unsafe { self.raw(layout) }?;
        let stored = store(&view);
        // Also where it ended early: some may be there.
        let marked = self.each_part(layout, &mut |part| {
            self.mapping.mark(part);
            Ok(())
        });
        stored.and(marked)
    }

    /// The element at a position, as its bytes in this machine's byte order: for one at a time.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the array, or for other than the bytes of one element; those of [`bring`](Self::bring).
    pub fn element(&self, position: u64, bytes: &mut [u8]) -> Result<()> {
        let (header, itemsize) = (&self.header, self.dtype().itemsize());
        let start = position.checked_mul(header.unit()).and_then(|start| usize::try_from(start).ok());
        let part = start.and_then(|start| Some(start..start.checked_add(itemsize)?));
        // A mapping that others have made shorter reads zeros there, as it does behind a pointer.
        let end = if self.is_copied() { self.mapping.live() } else { self.mapping.len() };
        let Some(part) = part.filter(|part| part.end <= end && bytes.len() == itemsize) else {
            return Err(Error::out_of_range(format!(
                "{} bytes at position {position}; expected {itemsize}, and a position below {}",
                bytes.len(),
                self.units()
            )));
        };
        self.mapping.bring(&part, Control::default())?;
        self.mapping.load(part.start, bytes);
        if !header.byte_order().is_native() {
            bytes.reverse();
        }
        Ok(())
    }

    /// Writes what was stored to a file that is not mapped, in mode `r+`, to that file, for others to see; it does not
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Io`] with what the system said: what was not written can be later. [`Error::MappingLost`].
    pub fn write_back(&self) -> Result<()> {
        self.mapping.write_back()
    }

    /// Calls `visit` with the bytes of the elements of `layout`, as far as they are neighbours; only where there is something to
    /// do for them.
    fn each_part(&self, layout: &Layout, visit: &mut dyn FnMut(Range<usize>) -> Result<()>) -> Result<()> {
        if !self.is_copied() {
            return Ok(());
        }
        let elements = Elements::new(self, layout)?;
        let all = std::slice::from_ref(&elements.bytes);
        elements.pieces(all, &mut |piece| piece.runs().try_for_each(&mut *visit))
    }
}
