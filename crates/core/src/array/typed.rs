//! An array whose element type is known: what ndarray can look at in place.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;

use ndarray::{
    Array, ArrayBase, ArrayView, ArrayViewMut, Axis, Data, Dimension, IxDyn, RawArrayView, RawArrayViewMut,
    RawData, ShapeBuilder, StrideShape,
};

use super::{DynMmapArray, OpenOptions};
use crate::create::{CreateOptions, Writer};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::layout::Order;
use crate::mode::Mode;

/// Elements written to a new file at a time.
const BLOCK_LEN: usize = 1 << 16;

/// An array in a file whose elements are of type `A`.
///
/// Everything of [`DynMmapArray`] is there through `Deref`.
#[derive(Clone)]
pub struct MmapArray<A> {
    array: DynMmapArray,
    element: PhantomData<A>,
}

impl<A: Element> MmapArray<A> {
    /// The caller has checked that the elements are of type `A`, in this machine's byte order, and aligned.
    pub(super) fn new(array: DynMmapArray) -> Self {
        Self { array, element: PhantomData }
    }

    /// Writes `source`, of any layout, to a new file in C order and opens it for reading and writing.
    ///
    /// The format follows the extension: see [`CreateOptions::for_path`].
    ///
    /// # Errors
    /// Those of [`CreateOptions::for_path`] and [`create_with`](Self::create_with).
    pub fn create<S: Data<Elem = A>, D: Dimension>(
        path: impl AsRef<Path>,
        source: &ArrayBase<S, D>,
    ) -> Result<Self> {
        let options = CreateOptions::for_path(path.as_ref())?;
        Self::create_with(path, source, &options)
    }

    /// Writes `source`, of any layout, to a new file and opens it for reading and writing.
    ///
    /// # Errors
    /// Those of [`Writer::begin`], [`Writer::write_at`] and [`Writer::commit`]; [`Error::NotContiguous`] on a big-endian
    /// machine for a format that is little-endian.
    pub fn create_with<S: Data<Elem = A>, D: Dimension>(
        path: impl AsRef<Path>,
        source: &ArrayBase<S, D>,
        options: &CreateOptions,
    ) -> Result<Self> {
        let shape: Vec<u64> = source.shape().iter().map(|&n| n as u64).collect();
        let writer = Self::begin(path.as_ref(), &shape, options)?;
        // `t()` of a C-order walk is a Fortran-order walk.
        let source = source.view().into_dyn();
        let source = if options.order == Order::C { source } else { source.reversed_axes() };
        let mut offset = 0;
        let mut block = Vec::with_capacity(BLOCK_LEN * A::DTYPE.itemsize());
        for value in &source {
            block.extend_from_slice(value.to_bytes().as_ref());
            if block.len() >= BLOCK_LEN * A::DTYPE.itemsize() {
                writer.write_at(offset, &block)?;
                offset += block.len() as u64;
                block.clear();
            }
        }
        writer.write_at(offset, &block)?;
        DynMmapArray::from_writer(writer)?.typed()
    }

    /// Makes a new file of `shape` in which every element is `value`, and opens it for reading and writing.
    ///
    /// Zeros of any size take no time and no memory.
    ///
    /// # Errors
    /// Those of [`Writer::begin`], [`Writer::fill`] and [`Writer::commit`]; [`Error::NotContiguous`] as from
    /// [`create_with`](Self::create_with).
    pub fn create_filled(
        path: impl AsRef<Path>,
        shape: &[u64],
        value: A,
        options: &CreateOptions,
    ) -> Result<Self> {
        let writer = Self::begin(path.as_ref(), shape, options)?;
        writer.fill(value.to_bytes().as_ref())?;
        DynMmapArray::from_writer(writer)?.typed()
    }

    /// Starts a file whose elements can be used in place once it is written: otherwise there had better be none.
    fn begin(path: &Path, shape: &[u64], options: &CreateOptions) -> Result<Writer> {
        let writer = Writer::begin(path, A::DTYPE, shape, options)?;
        if writer.header().byte_order().is_native() {
            return Ok(writer);
        }
        let reason = format!(
            "the elements of an {} file have another byte order than this machine, which cannot use them in place. \
             Write an npy file, or this one with Writer",
            options.format.name()
        );
        Err(Error::NotContiguous { reason, path: path.to_path_buf() })
    }

    /// Opens the array in the file at `path`, whose elements must be of type `A`.
    ///
    /// # Errors
    /// Those of [`DynMmapArray::open`] and [`DynMmapArray::typed`].
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        DynMmapArray::open(path, options)?.typed()
    }

    /// Opens for reading: `r`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path, &OpenOptions::new(Mode::ReadOnly))
    }

    /// Opens for reading and writing in the file: `r+`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_read_write(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path, &OpenOptions::new(Mode::ReadWrite))
    }

    /// Opens for reading and for writing in memory only: `c`. The first store to a page copies that page.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_cow(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path, &OpenOptions::new(Mode::CopyOnWrite))
    }

    /// The elements as an ndarray view of raw pointers, which is safe to have: reading through it is not.
    #[must_use]
    pub fn raw_view(&self) -> RawArrayView<A, IxDyn> {
        let first = self.array.mapping.as_ptr().cast::<A>();
        // SAFETY:
        // - the facts of `place`.
        self.turned(unsafe { RawArrayView::from_shape_ptr(self.place(), first) })
    }

    /// The elements as a writable ndarray view of raw pointers.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in mode `r`; [`Error::NotContiguous`] where elements share bytes, as with a stride of 0.
    pub fn raw_view_mut(&self) -> Result<RawArrayViewMut<A, IxDyn>> {
        let path = || self.array.path.clone();
        if !self.array.mode.writable() {
            return Err(Error::ReadOnly { path: path() });
        }
        if self.header().overlaps() {
            let reason = "different elements share bytes, so none can be borrowed for writing".to_owned();
            return Err(Error::NotContiguous { reason, path: path() });
        }
        let first = self.array.mapping.as_ptr().cast::<A>();
        // SAFETY:
        // - the facts of `place`.
        // - no element is referenced by two indices: checked above.
        Ok(self.turned(unsafe { RawArrayViewMut::from_shape_ptr(self.place(), first) }))
    }

    /// Shape and strides for a view whose first element is the start of the mapping.
    ///
    /// ndarray takes strides that are not negative, from the lowest element on, and turns axes afterwards (`turned`).
    /// What its constructors ask for:
    /// - the pointer is aligned for `A` (`typed`) and not null; for no elements it dangles, which is allowed.
    /// - it points to the lowest element: the mapping starts there (`data_offset` of `Header`).
    /// - shape and strides stay inside the mapping: the conditions of `Header`, and fact 2 of `Mapping`.
    fn place(&self) -> StrideShape<IxDyn> {
        // The header was checked and mapped, so all of it fits; an empty array's strides move no pointer.
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let shape: Vec<usize> = self.shape().iter().map(|&n| size(n)).collect();
        let stride = |&stride: &i64| if self.is_empty() { 0 } else { size(stride.unsigned_abs()) };
        let strides: Vec<usize> = self.strides().iter().map(stride).collect();
        IxDyn(&shape).strides(IxDyn(&strides))
    }

    fn turned<S: RawData<Elem = A>>(&self, mut view: ArrayBase<S, IxDyn>) -> ArrayBase<S, IxDyn> {
        for (axis, &stride) in self.strides().iter().enumerate() {
            if stride < 0 && !self.is_empty() {
                view.invert_axis(Axis(axis));
            }
        }
        view
    }

    /// The elements as an ndarray view.
    ///
    /// # Safety
    /// While the view lives nobody writes the elements: no other view, no other thread, no other process. In the
    /// private modes that includes writers of the file, because pages that were not stored to follow it. Nobody
    /// makes the file shorter.
    #[must_use]
    pub unsafe fn view(&self) -> ArrayView<'_, A, IxDyn> {
        // SAFETY:
        // - valid and aligned: see `raw_view`. `Element`: every bit pattern is a value.
        // - the view borrows `self`, which keeps the mapping.
        // - nobody else writes: the caller's promise.
        unsafe { self.raw_view().deref_into_view() }
    }

    /// The elements as a writable ndarray view.
    ///
    /// # Errors
    /// Those of [`raw_view_mut`](Self::raw_view_mut).
    ///
    /// # Safety
    /// While the view lives nobody else reads or writes the elements, and nobody makes the file shorter; see
    /// [`view`](Self::view).
    pub unsafe fn view_mut(&mut self) -> Result<ArrayViewMut<'_, A, IxDyn>> {
        let raw = self.raw_view_mut()?;
        // SAFETY:
        // - as in `view`; the view borrows `self` mutably, so this handle gives out no second one.
        Ok(unsafe { raw.deref_into_view_mut() })
    }

    /// Appends `rows` along the growth axis: the first in C order, the last in Fortran order. An array of one axis less is one
    /// row. With `durable` they are on the disk when this returns.
    ///
    /// # Errors
    /// Those of [`DynMmapArray::begin_append`], and [`Error::InvalidValue`] for rows of another shape. File and array are as
    /// they were.
    pub fn append<S: Data<Elem = A>, D: Dimension>(
        &mut self,
        rows: &ArrayBase<S, D>,
        durable: bool,
    ) -> Result<()> {
        let axis = self.array.growth_axis()?;
        let mut rows = rows.view().into_dyn();
        if rows.ndim() + 1 == self.shape().len() {
            rows.insert_axis_inplace(Axis(axis));
        }
        let others = |shape: &mut dyn Iterator<Item = u64>| -> Vec<u64> {
            shape.enumerate().filter(|&(n, _)| n != axis).map(|(_, extent)| extent).collect()
        };
        let own = others(&mut self.shape().iter().copied());
        if rows.ndim() != self.shape().len() || others(&mut rows.shape().iter().map(|&n| n as u64)) != own {
            return Err(Error::invalid_value(format!(
                "rows of shape {:?} do not fit an array of shape {:?}, which grows along axis {axis}",
                rows.shape(),
                self.shape()
            )));
        }
        let growth = self.array.begin_append(rows.len_of(Axis(axis)) as u64)?;
        // Where the last axis is the growing one the walk is that of Fortran order; parts of complex numbers stay together.
        let ndim = self.header().whole_shape().len();
        let walk: Vec<usize> = (0..ndim).rev().chain(ndim..rows.ndim()).collect();
        let rows = if axis == 0 { rows } else { rows.permuted_axes(IxDyn(&walk)) };
        if rows.len() > BLOCK_LEN {
            growth.reserve()?;
        }
        let mut offset = 0;
        let mut block = Vec::with_capacity(rows.len().min(BLOCK_LEN) * A::DTYPE.itemsize());
        for value in &rows {
            block.extend_from_slice(value.to_bytes().as_ref());
            if block.len() >= BLOCK_LEN * A::DTYPE.itemsize() {
                growth.write_at(offset, &block)?;
                offset += block.len() as u64;
                block.clear();
            }
        }
        growth.write_at(offset, &block)?;
        let grown = growth.commit(durable)?;
        self.array.adopt(grown)
    }

    /// Gives the array `n` rows: see [`DynMmapArray::resize`].
    ///
    /// # Errors
    /// Those of [`DynMmapArray::resize`].
    pub fn resize(&mut self, n: u64) -> Result<()> {
        self.array.resize(n)
    }

    /// Takes the length that the file has now: see [`DynMmapArray::refresh`].
    ///
    /// # Errors
    /// Those of [`DynMmapArray::refresh`].
    pub fn refresh(&mut self) -> Result<bool> {
        self.array.refresh()
    }

    /// Copies the elements into memory, in C order.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if they do not fit.
    pub fn to_owned_array(&self) -> Result<Array<A, IxDyn>> {
        self.array.to_owned_array()
    }
}

impl<A> Deref for MmapArray<A> {
    type Target = DynMmapArray;

    fn deref(&self) -> &DynMmapArray {
        &self.array
    }
}

impl<A> fmt::Debug for MmapArray<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.array.fmt(f)
    }
}
