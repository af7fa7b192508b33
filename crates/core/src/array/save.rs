//! A view as a file of its own: another format, another order, without the gaps.

use std::path::Path;

use super::DynMmapArray;
use crate::create::{CreateOptions, Writer};
use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::kernel::{self, Control, RawView};
use crate::layout::{Layout, Order};
use crate::lease::Pin;

/// Bytes that are gathered at a time.
const BLOCK_LEN: u64 = 8 << 20;

impl DynMmapArray {
    /// Writes the elements of `layout` to a new file, in the order that `options` say and the byte order of this machine,
    /// whole or not at all. No more than 8 MiB are in memory at a time.
    ///
    /// Complex numbers stay complex where the view has them whole: their two parts as its last axis. The file may be the
    /// array's own, with `overwrite`: the array then keeps the old one. `control` counts elements.
    ///
    /// # Errors
    /// Those of [`Writer::begin`] and [`Writer::commit`]; [`Error::MappingLost`] when pages have vanished, [`Error::Closed`]
    /// when the last lease has ended, [`Error::Aborted`], [`Error::OutOfRange`] if the layout reaches outside the array.
    /// After any of them there is no new file.
    pub fn save_as(
        &self,
        layout: &Layout,
        path: impl AsRef<Path>,
        options: &CreateOptions,
        control: Control,
    ) -> Result<()> {
        let _pin = Pin::new(self.mapping(), None).map_err(|refusal| self.refused(refusal))?;
        let (element, shape) = self.whole_elements(layout);
        let writer = Writer::begin(path.as_ref(), element, &shape, options)?;
        let itemsize = self.dtype().itemsize();
        let blocks = Blocks::new(layout, options.order, element.complex, BLOCK_LEN / itemsize as u64);
        let mut memory = Vec::new();
        let mut offset = 0;
        for block in blocks.iter(self.units()) {
            if control.is_cancelled() {
                return Err(Error::Aborted);
            }
            let block = block?;
            let len = usize::try_from(block.len()).unwrap_or(usize::MAX);
            memory.resize(len.saturating_mul(itemsize), 0_u8);
            self.gather(&block, &mut memory)?;
            // Zeros in the place of a page that is gone must not get there.
            self.check_loss()?;
            writer.write_at(offset, &memory)?;
            offset += memory.len() as u64;
            control.add(len);
        }
        if control.is_cancelled() { Err(Error::Aborted) } else { writer.commit() }
    }

    /// Copies the elements of `layout` to `memory`, which has room for exactly those, in C order.
    fn gather(&self, layout: &Layout, memory: &mut [u8]) -> Result<()> {
        let size = self.dtype().itemsize();
        let place = Layout::contiguous(layout.shape().to_vec(), Order::C, (memory.len() / size) as u64)?;
        // SAFETY:
        // - `memory` is borrowed until this function ends, and the view with it.
        let target = unsafe {
            RawView::new(memory.as_mut_ptr(), memory.len(), size, ElementType::from(self.dtype()), &place)
        }?;
        // SAFETY:
        // - the mapping lives as long as `self`, and the view ends in this function.
        let source = unsafe { self.raw(layout) }?;
        kernel::assign(&target, &source)
    }

    /// The type and the shape that a file of a view has: complex where all parts of its numbers are neighbours in it.
    fn whole_elements(&self, layout: &Layout) -> (ElementType, Vec<u64>) {
        let header = self.header();
        let parts = (header.element().native(), layout.shape().to_vec());
        let part = (self.dtype().itemsize() as u64 / header.unit()).cast_signed();
        let is_whole = |n: u64, stride: i64| n < 2 || stride % (2 * part) == 0;
        let outer = |shape: &[u64], strides: &[i64]| {
            shape.iter().zip(strides).rev().skip(1).all(|(&n, &stride)| is_whole(n, stride))
        };
        let (Some(&2), Some(&step), true) =
            (layout.shape().last(), layout.strides().last(), header.element().complex)
        else {
            return (ElementType::from(self.dtype()), parts.1);
        };
        let same = layout.shape() == header.shape()
            && layout.strides() == header.strides()
            && layout.offset() == header.offset();
        // Real parts lie at even distances from each other, unless numbers do not.
        let even = outer(header.shape(), header.strides())
            && outer(layout.shape(), layout.strides())
            && is_whole(2, layout.offset().cast_signed() - header.offset().cast_signed())
            && step == part;
        if same || even || layout.is_empty() {
            let mut shape = parts.1;
            shape.pop();
            return (parts.0, shape);
        }
        (ElementType::from(self.dtype()), parts.1)
    }
}

/// The elements of a view in the order of a file, in parts that are views themselves.
struct Blocks {
    offset: i64,
    /// Axes that are counted through.
    outer: Vec<(u64, i64)>,
    /// The axis that is cut, and how many of it are in a part.
    cut: (u64, i64, u64),
    /// Axes that each part has whole.
    inner: Vec<(u64, i64)>,
}

impl Blocks {
    /// Parts of at most `most` elements.
    fn new(layout: &Layout, order: Order, complex: bool, most: u64) -> Self {
        let mut outer: Vec<_> =
            layout.shape().iter().copied().zip(layout.strides().iter().copied()).collect();
        if order == Order::Fortran {
            // The parts of a complex number stay neighbours.
            let numbers = outer.len() - usize::from(complex);
            if let Some(axes) = outer.get_mut(..numbers) {
                axes.reverse();
            }
        }
        let (mut inner, mut len) = (Vec::new(), 1_u64);
        while let Some(axis) = outer.pop_if(|(n, _)| len.saturating_mul(*n) <= most) {
            len *= axis.0;
            inner.push(axis);
        }
        inner.reverse();
        let (n, stride) = outer.pop().unwrap_or((1, 0));
        // Of an empty view there is no part: a length of 0 has gone to `inner`, or is among the rest.
        let cut = (n, stride, most.checked_div(len).unwrap_or(1).max(1));
        let offset = layout.offset().cast_signed();
        if layout.is_empty() {
            return Self { offset, outer: vec![(0, 0)], cut, inner };
        }
        Self { offset, outer, cut, inner }
    }

    /// The parts, as views of memory that holds `units` elements.
    fn iter(&self, units: u64) -> impl Iterator<Item = Result<Layout>> {
        let (n, stride, rows) = self.cut;
        let lines = self.outer.iter().map(|axis| axis.0).product();
        (0..lines).flat_map(move |line: u64| {
            let (mut rest, mut start) = (line, self.offset);
            for &(n, stride) in self.outer.iter().rev() {
                start += (rest % n).cast_signed() * stride;
                rest /= n;
            }
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            (0..n).step_by(rows).map(move |row| {
                let first = (n - row).min(rows as u64);
                let shape = std::iter::once(first).chain(self.inner.iter().map(|axis| axis.0)).collect();
                let strides = std::iter::once(stride).chain(self.inner.iter().map(|axis| axis.1)).collect();
                let offset = start + row.cast_signed() * stride;
                Layout::new(offset.cast_unsigned(), shape, strides, units)
            })
        })
    }
}
