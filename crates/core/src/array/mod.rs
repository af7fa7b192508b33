//! A file as an array: what the seed's `MmapArray` is, with the element type known or not.
//!
//! [`DynMmapArray`] is any array that can be opened. [`MmapArray<A>`] is one whose elements are of type `A`, in the
//! order and alignment of this machine, so that ndarray can look at them in place.
//!
//! Past 400 lines: one struct, whose short methods each come with their contract.

mod copied;
mod grow;
mod life;
mod save;
mod take;
mod typed;

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ndarray::{Array, IxDyn};

use crate::create::Writer;
use crate::dtype::{DType, ElementType};
use crate::error::{Error, Result};
use crate::file::{self, Identity, Lock};
use crate::format::{Format, Raw, Request};
use crate::grow::Growable;
use crate::guard::Loss;
use crate::header::Header;
use crate::kernel::{self, Control, Element, RawView};
use crate::layout::{Layout, Order};
use crate::mapping::copied::keep;
use crate::mapping::{Mapping, Wanted};
use crate::mode::Mode;

pub use typed::MmapArray;

/// How to open a file, and what to expect of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// How the file is mapped.
    pub mode: Mode,
    /// The format; found from the content where it is `None`, never from the name.
    pub format: Option<Format>,
    /// The dtype expected: [`Error::DtypeMismatch`] for another.
    pub dtype: Option<ElementType>,
    /// The shape expected, in elements: [`Error::ShapeMismatch`] for another.
    pub shape: Option<Vec<u64>>,
    /// Refuse bytes after the array and padding that is not zero.
    pub strict: bool,
    /// Which array, where the file holds them by name: a tensor, a member of an npz file, a field of records.
    pub name: Option<String>,
    /// What a raw file holds.
    pub raw: Option<Raw>,
    /// Lock the file for as long as the array is open: [`Error::Locked`] at once when somebody else has it.
    pub lock: Option<Lock>,
    /// The file expected: [`Error::Stale`] where the path names another, or none.
    pub identity: Option<Identity>,
    /// Bytes of address space kept ahead for growth; fewer where there are not so many, none where mappings end with
    /// their file (macOS, Windows).
    pub capacity: u64,
    /// Whether the file may be mapped. Otherwise, and where its file system maps none, what is used of it is read to a temporary file
    /// first, in blocks of 1 MiB, and what was stored is written back by [`DynMmapArray::flush`],
    /// [`DynMmapArray::write_back`] and when the array is dropped. What others write to a block after that was read is not seen.
    pub map: bool,
}

impl OpenOptions {
    /// Any array, in this mode.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            format: None,
            dtype: None,
            shape: None,
            strict: false,
            name: None,
            raw: None,
            lock: None,
            identity: None,
            capacity: 0,
            map: true,
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// An array in a file, mapped into memory.
///
/// Opening reads the header and maps the data: nothing is read, nothing is copied, and the time does not depend on
/// the size. Dropping it unmaps; it does not [`flush`](Self::flush). Where the file system maps no files it is read and
/// written instead: see [`OpenOptions::map`].
#[derive(Clone)]
pub struct DynMmapArray {
    header: Header,
    mapping: Arc<Mapping>,
    mode: Mode,
    path: PathBuf,
    lock: Option<Lock>,
    name: Option<String>,
    /// Tells the mapping, and the length that the array has of it, from every other of this process.
    id: u64,
    /// Whether the file ended with the array when it was opened.
    whole: bool,
    capacity: u64,
    /// How it grows, once that was asked.
    growable: Option<Growable>,
    /// Mappings that it has outgrown, which others may still use.
    earlier: Vec<Weak<Mapping>>,
}

impl DynMmapArray {
    /// Opens the array in the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; the header's errors (`InvalidMagic`, `UnsupportedVersion`,
    /// `InvalidHeader`, `FileTooShort`, `TrailingData`, `UnsupportedDtype`); `InvalidName` where it has no array of that
    /// name; `DtypeMismatch` and `ShapeMismatch` where the file is not what `options` expect; `OutOfRange` where `raw` leaves
    /// the file; `TooLarge`; `Locked`; `Stale`.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let OpenOptions { mode, format, strict, name, raw, lock, .. } = options;
        let (file, len) = file::open_as(path, *mode, options.identity, *lock)?;
        let request = Request { format: *format, name: name.clone(), strict: *strict, raw: raw.clone() };
        let header = file::read_header(&file, len, path, &request)?;
        if let Some(expected) = options.dtype {
            // A complex file is one of its parts as well; the other way round it is not.
            let found = header.element();
            if expected.dtype != found.dtype || (expected.complex && !found.complex) {
                return Err(Error::DtypeMismatch {
                    path: path.to_path_buf(),
                    expected: expected.name().to_owned(),
                    actual: found.name().to_owned(),
                });
            }
        }
        if let Some(expected) = &options.shape
            && expected != header.shape()
        {
            return Err(Error::ShapeMismatch {
                path: path.to_path_buf(),
                expected: expected.clone(),
                actual: header.shape().to_vec(),
            });
        }
        let whole = header.file_len() == len;
        let array = Self::map(file, header, path, options)?;
        Ok(Self { name: name.clone(), whole, ..array })
    }

    /// Maps a file just written, for reading and writing.
    ///
    /// # Errors
    /// Those of [`Writer::commit`], and [`Error::Io`] if the system refuses to map.
    pub fn from_writer(writer: Writer) -> Result<Self> {
        // Mapped before it gets its name: a file that cannot be mapped replaces nothing.
        let options = OpenOptions { capacity: writer.capacity(), ..OpenOptions::new(Mode::ReadWrite) };
        let array = Self::map(writer.file()?, writer.header().clone(), writer.path(), &options)?;
        writer.commit()?;
        Ok(array)
    }

    fn map(file: File, header: Header, path: &Path, options: &OpenOptions) -> Result<Self> {
        let &OpenOptions { mode, lock, capacity, map, .. } = options;
        let (offset, len) = (header.data_offset(), header.data_len());
        let wanted = Wanted { offset, len, reserve: capacity, mode, map };
        let mapping = Mapping::new(file, lock.is_some(), wanted, path)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (mapping, path) = (Arc::new(mapping), path.to_path_buf());
        keep(&mapping);
        Ok(Self {
            header,
            mapping,
            mode,
            path,
            lock,
            name: None,
            id,
            whole: true,
            capacity,
            growable: None,
            earlier: Vec::new(),
        })
    }

    /// Elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        self.header.shape()
    }

    /// Elements between neighbours along each axis.
    #[must_use]
    pub fn strides(&self) -> &[i64] {
        self.header.strides()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.header.len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dtype of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.header.dtype()
    }

    /// What the file's header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file is mapped.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The path that the file was opened by.
    #[must_use]
    pub fn file_path(&self) -> &Path {
        &self.path
    }

    /// Which array of the file it is, where that holds them by name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The mapped bytes of the elements.
    #[must_use]
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Whether the bytes are elements of this machine as they lie: its byte order, aligned, whole elements apart.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.header.byte_order().is_native()
            && self.header.unit() == self.dtype().itemsize() as u64
            && self.mapping.as_ptr().addr().is_multiple_of(self.dtype().itemsize())
    }

    /// The elements that `layout` reaches, for the kernels.
    ///
    /// The view does not keep the mapping: hold [`mapping`](Self::mapping) for as long as it is used.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array; those of [`bring`](Self::bring).
    ///
    /// # Safety
    /// The view and its copies are not used after the mapping is gone.
    pub unsafe fn raw(&self, layout: &Layout) -> Result<RawView> {
        self.bring(layout, Control::default())?;
        // SAFETY:
        // - as promised to this function.
        unsafe { self.places(layout) }
    }

    /// As [`raw`](Self::raw), for elements that are there already, or that nobody is to look at before they are.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the layout reaches outside the array.
    ///
    /// # Safety
    /// As for `raw`.
    unsafe fn places(&self, layout: &Layout) -> Result<RawView> {
        let header = &self.header;
        let unit = usize::try_from(header.unit()).unwrap_or(usize::MAX);
        // SAFETY:
        // - all bytes of the mapping are mapped, readable and writable (fact 1 of `Mapping`), for as long as it lives,
        //   which the caller promises.
        unsafe { RawView::new(self.mapping.as_ptr(), self.mapping.live(), unit, header.element(), layout) }
    }

    /// How many positions an element can have in the mapping: what layouts of it are made for.
    #[must_use]
    pub fn units(&self) -> u64 {
        let header = &self.header;
        let room = header.data_len().checked_sub(self.dtype().itemsize() as u64);
        room.map_or(0, |room| room / header.unit() + 1)
    }

    /// The layout of the whole array.
    ///
    /// # Errors
    /// None: every header has one.
    pub fn layout(&self) -> Result<Layout> {
        Layout::new(self.header.offset(), self.shape().to_vec(), self.strides().to_vec(), self.units())
    }

    /// Brings what was stored to the disk; nothing to do in the private modes.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system said; [`Error::MappingLost`] if pages have vanished, in every mode, or a sync has failed
    /// before (Linux).
    pub fn flush(&self) -> Result<()> {
        self.flush_part(&self.layout()?)
    }

    /// Brings ranges of whole pages to the disk, in bytes from the start of the first page on.
    pub(crate) fn flush_ranges(&self, ranges: impl Iterator<Item = Range<usize>>) -> Result<()> {
        if self.is_copied() {
            return self.mapping.flush_copied(ranges);
        }
        self.mapping.flush(ranges).map_err(|error| Error::io("msync", &self.path, error))
    }

    /// What was lost of the file under the mapping, if anything was: some elements are zeros that are not the file's, or stores
    /// are not in the file.
    #[must_use]
    pub fn lost(&self) -> Option<Loss> {
        self.mapping.lost()
    }

    /// Fails if something was lost: for whoever has just read the data.
    ///
    /// # Errors
    /// [`Error::MappingLost`].
    pub fn check_loss(&self) -> Result<()> {
        self.mapping.check(&self.path)
    }

    /// Fails if something was lost and no [`flush`](Self::flush) has said so: for whoever is done with the array.
    ///
    /// # Errors
    /// [`Error::MappingLost`].
    pub fn report_loss(&self) -> Result<()> {
        self.mapping.report(&self.path)
    }

    /// Copies the elements into memory, in C order, in this machine's byte order.
    ///
    /// # Errors
    /// [`Error::DtypeMismatch`] unless the elements are of type `A`; [`Error::TooLarge`] if they do not fit into
    /// memory.
    pub fn to_owned_array<A: Element>(&self) -> Result<Array<A, IxDyn>> {
        self.expect_dtype::<A>()?;
        let too_large = |_| {
            Error::too_large(format!(
                "a copy needs memory for {} elements of {}; copy in parts",
                self.len(),
                self.dtype()
            ))
            .at(&self.path)
        };
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX);
        let mut values: Vec<A> = Vec::new();
        values.try_reserve_exact(len).map_err(too_large)?;
        let shape = shape_of(&self.header)?;
        let layout = Layout::contiguous(self.shape().to_vec(), Order::C, self.len())?;
        // SAFETY:
        // - `values` has room for `len` elements, and nothing else uses it until `set_len`.
        // - the view is gone before `values` moves.
        let target = unsafe {
            RawView::new(
                values.as_mut_ptr().cast(),
                len * size_of::<A>(),
                size_of::<A>(),
                A::DTYPE.into(),
                &layout,
            )
        }?;
        // SAFETY:
        // - the mapping lives as long as `self`, and the view ends in this function.
        let source = unsafe { self.raw(&self.layout()?) }?;
        kernel::assign(&target, &source)?;
        // SAFETY:
        // - `assign` has stored all `len` elements: the layouts have one shape, and C order has no gaps.
        // - `Element`: every bit pattern is a value of `A`.
        unsafe { values.set_len(len) };
        Array::from_shape_vec(shape, values).map_err(|error| Error::out_of_range(error.to_string()))
    }

    /// The same array with its element type known.
    ///
    /// # Errors
    /// [`Error::DtypeMismatch`] unless the elements are of type `A`; [`Error::NotContiguous`] if they are not in the
    /// byte order or alignment of this machine; [`Error::Unavailable`] if the file [is not mapped](Self::is_copied).
    pub fn typed<A: Element>(self) -> Result<MmapArray<A>> {
        self.expect_dtype::<A>()?;
        if self.is_copied() {
            return Err(Error::Unavailable {
                reason: "the file is not mapped, so that ndarray cannot look at its elements in place; copy them with \
                         to_owned_array, or copy the file to a file system that maps files"
                    .to_owned(),
                path: self.path,
            });
        }
        if !self.is_native() {
            return Err(Error::NotContiguous {
                reason: format!(
                    "the elements are {} at byte {} of the file, which this machine cannot read in place; \
                     copy them with to_owned_array",
                    self.header.descr(),
                    self.header.data_offset()
                ),
                path: self.path,
            });
        }
        Ok(MmapArray::new(self))
    }

    fn expect_dtype<A: Element>(&self) -> Result<()> {
        if self.dtype() == A::DTYPE {
            return Ok(());
        }
        Err(Error::DtypeMismatch {
            path: self.path.clone(),
            expected: A::DTYPE.name().to_owned(),
            actual: self.dtype().name().to_owned(),
        })
    }
}

impl fmt::Debug for DynMmapArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmapArray")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .field("format", &self.header.format())
            .field("dtype", &self.header.descr())
            .field("shape", &self.shape())
            .field("strides", &self.strides())
            .field("dirty", &self.layout().and_then(|layout| self.dirty(&layout)).ok().flatten())
            .finish_non_exhaustive()
    }
}

fn shape_of(header: &Header) -> Result<IxDyn> {
    let shape: Result<Vec<usize>, _> = header.shape().iter().map(|&n| usize::try_from(n)).collect();
    shape
        .map(|shape| IxDyn(&shape))
        .map_err(|_| Error::too_large("an axis is longer than this process can address"))
}
