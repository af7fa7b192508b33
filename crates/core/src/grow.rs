//! Files that become longer or shorter in place.
//!
//! # What is promised, and how
//! The header says how long the array is, and is written last: rows are written behind the array, where nobody looks, then
//! the bytes of the header that differ, all in one page, in one call. A process that is killed leaves the header of before or of
//! after; rows without a header are trailing bytes, which the next append removes. An array becomes shorter the other
//! way round: first the header, then the file. A raw file has no header, its length is the array: it is set first, in one
//! call, and the rows follow. Killed between the two it has the new length, and zeros for rows that were not written yet.
//!
//! Windows makes no file shorter that is mapped. There the header alone becomes shorter, and the file when its last mapping
//! is gone (`Mapping::owe`); a raw file, which has none, keeps its length (`EBUSY`).
//!
//! A power loss may bring the header to the disk before the rows, unless the caller asks for them to be durable: then the
//! rows are synced before the header is written, and the header after.
//!
//! # No space is taken in advance
//! An append is three calls (look at the path; rows; header) and makes the file longer by just what is
//! in it. Writing takes the disk space, so a full disk is `ENOSPC` while the header says the old length. Making the file longer
//! by more than that would save nothing: what is written through a mapping costs a fault for each page, which is more than
//! the call. And readers who refuse trailing bytes would refuse a file that is being appended to, and a killed process would
//! leave it so. Only where rows come in several blocks is their space set aside first, behind the end of the
//! file, so that the disk is not filled for nothing.
//!
//! # Where the header has to stay
//! The elements do not move, so a header keeps its length. mmap headers are of one size. Those of numpy have room for 21 digits
//! of the growing axis, and come out here as `np.save` of the longer array would write them. Other headers are filled
//! up with spaces; one that has no room refuses the growth.
//!
//! # Others
//! Before anything is written the header must be what this array knows, and the file as long: somebody else's append makes this one fail
//! and never overwrite theirs. Two that append at the very same moment need a lock: nothing else orders them. In one process the
//! users of one mapping cannot.
//!
//! Past 400 lines, of which every tenth is about what is promised: the steps of a growth have to be read in one piece.

use std::fs::File;
use std::io::{self, Cursor};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dtype::ByteOrder;
use crate::error::{Error, Result};
use crate::fault;
use crate::format::{self, Format, Request};
use crate::guard::Loss;
use crate::header::Header;
use crate::layout::{Order, contiguous_strides};
use crate::mapping::Mapping;
use crate::sys;

/// Bytes that one write cannot leave half done: a page of the smallest size there is.
const PAGE: usize = 4096;
/// Bytes of zeros written at a time.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
/// Addresses kept ahead when an array outgrows its mapping, at least; as many as it has where that is more.
const LEAST_RESERVE: u64 = 64 << 20;

/// How an array grows, and the header that it had when that was last looked at.
#[derive(Clone, Debug)]
pub(crate) struct Growable {
    /// The axis, of [`Header::whole_shape`].
    pub(crate) axis: usize,
    pub(crate) order: Order,
    /// All bytes before the elements; none of a raw file.
    text: Vec<u8>,
}

impl Growable {
    /// Finds out how the array that `header` describes grows.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] where it cannot, and [`Error::Io`].
    pub(crate) fn new(file: &File, header: &Header, path: &Path) -> Result<Self> {
        let refused = |why: &str| {
            Err(Error::invalid_value(format!(
                "{}: the array cannot change its length: {why}. Save it as an npy file of its own, and append there",
                path.display()
            )))
        };
        let shape = header.whole_shape();
        if matches!(header.format(), Format::Safetensors | Format::Npz) {
            return refused("its file holds others as well");
        }
        let text = read_text(file, header).map_err(|error| Error::io("read", path, error))?;
        if header.format() != Format::Raw {
            // It is read again, and may have become another since the array was opened.
            if !says(&text, header).map_err(|e| e.at(path))? {
                return Err(header_changed(path));
            }
        }
        if shape.is_empty() {
            return refused("it has no axis");
        }
        let is_in = |&order: &Order| {
            let size = i64::try_from(header.element().size() as u64 / header.unit().max(1));
            let packed = contiguous_strides(shape, order).zip(size.ok()).and_then(|(strides, size)| {
                strides.iter().map(|stride| stride.checked_mul(size)).collect::<Option<Vec<_>>>()
            });
            header.offset() == 0 && packed.is_some_and(|packed| header.strides().starts_with(&packed))
        };
        let said = format::order_of(header.format(), &text).map_err(|error| error.at(path))?;
        let order = said.into_iter().chain([Order::C, Order::Fortran]).find(is_in);
        match order {
            Some(order) if said.is_none_or(|said| said == order) => {
                let axis = if order == Order::C { 0 } else { shape.len().saturating_sub(1) };
                Ok(Self { axis, order, text })
            }
            _ => refused("its elements do not lie one after the other"),
        }
    }
}

fn header_changed(path: &Path) -> Error {
    Error::outdated(path, "its header has changed. Call refresh() first")
}

/// The bytes of the file before the elements, which its format has a header in.
pub(crate) fn read_text(file: &File, header: &Header) -> io::Result<Vec<u8>> {
    let len = if header.format() == Format::Raw { 0 } else { header.data_offset() };
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    if !text.is_empty() {
        fault::point("read").and_then(|()| sys::read_exact_at(file, &mut text, 0))?;
    }
    Ok(text)
}

/// Whether the bytes before the elements are those of the array that `header` describes.
pub(crate) fn says(text: &[u8], header: &Header) -> Result<bool> {
    let request = Request { format: Some(header.format()), ..Request::default() };
    Ok(format::read(&mut Cursor::new(text), u64::MAX, &request)? == *header)
}

/// Addresses to keep behind an array of `len` bytes that has outgrown its mapping.
pub(crate) fn reserve_for(len: u64, capacity: u64) -> u64 {
    LEAST_RESERVE.max(capacity).max(len)
}

/// A new length on its way: rows are [written](Self::write_at) behind the array, then [`commit`](Self::commit) makes them
/// part of it. Dropped before that, it leaves the file as long as it was.
#[derive(Debug)]
pub struct Growth {
    pub(crate) file: Arc<File>,
    mapping: Arc<Mapping>,
    pub(crate) path: PathBuf,
    capacity: u64,
    old: Header,
    new: Header,
    growable: Growable,
    text: Vec<u8>,
    /// Whether the file may be longer than the array, or have space set aside.
    begun: AtomicBool,
    /// Whether a raw file has its new length.
    longer: AtomicBool,
}

/// What an array becomes once its file has the new length.
#[derive(Debug)]
pub struct Grown {
    pub(crate) header: Header,
    pub(crate) growable: Growable,
    /// Where the array lies, if it has outgrown the mapping it had.
    pub(crate) mapping: Option<Mapping>,
}

impl Growth {
    /// Begins to give the array `n` rows; the path still names its file, of `len` bytes, as the caller has just seen.
    ///
    /// # Errors
    /// [`Error::InvalidState`], [`Error::Closed`], [`Error::MappingLost`], [`Error::Outdated`], [`Error::TooLarge`], [`Error::Io`].
    pub(crate) fn begin(
        mapping: &Arc<Mapping>,
        path: &Path,
        capacity: u64,
        growable: Growable,
        old: &Header,
        len: u64,
        n: u64,
    ) -> Result<Self> {
        let file = mapping.file().ok_or_else(|| Error::Closed { path: path.to_path_buf() })?;
        let too_large = |error: Error| {
            Error::too_large(format!("{n} rows along axis {} are too many: {error}", growable.axis)).at(path)
        };
        let new = old.resized(growable.axis, n, growable.order).map_err(too_large)?;
        let text = if new == *old {
            // As it is: it need not be what we would write.
            growable.text.clone()
        } else {
            format::rewrite_header(&growable.text, &new, growable.order).map_err(|e| e.at(path))?
        };
        if !mapping.claim() {
            return Err(Error::invalid_state(
                path,
                "the array is being appended to or resized already; wait for that to end, then try again",
            ));
        }
        let growth = Self {
            file,
            mapping: Arc::clone(mapping),
            path: path.to_path_buf(),
            capacity,
            old: old.clone(),
            new,
            growable,
            text,
            begun: AtomicBool::new(false),
            longer: AtomicBool::new(false),
        };
        if growth.changed().end > PAGE {
            return Err(Error::too_large(
                "the header is longer than a page, which one write may leave half done",
            )
            .at(path));
        }
        growth.check(len)?;
        Ok(growth)
    }

    /// Checks that nobody else has changed the file, and removes what an append that was killed has left.
    fn check(&self, len: u64) -> Result<()> {
        let path = &self.path;
        self.mapping.check(path)?;
        // Through the mapping, where the header is in a page of it: the same bytes without a call.
        let seen = self.mapping.header_before(self.growable.text.len());
        let text = seen.map_or_else(|| read_text(&self.file, &self.old), Ok);
        if text.map_err(|error| Error::io("read", path, error))? != self.growable.text {
            return Err(header_changed(path));
        }
        let end = self.old.end();
        if len == end {
            Ok(())
        } else if self.is_raw() && self.mapping.owes(&self.old, len) {
            // Ours: what an append that failed could not take back.
            Ok(())
        } else if self.is_raw() {
            Err(Error::outdated(
                path,
                format!(
                    "it has {len} bytes, and the array ends at {end}. Call refresh() first; if bytes are left over \
                     after that, they are no row"
                ),
            ))
        } else if len < end {
            self.mapping.lose(Loss::Truncated);
            self.mapping.check(path)
        } else {
            self.cut(&self.old, true)
        }
    }

    /// Cuts off what is behind the array of `header`. A system that does not do that while the file is mapped does it when
    /// the file is not any more, if that `may_wait`.
    fn cut(&self, header: &Header, may_wait: bool) -> Result<()> {
        match sys::cut(&self.file, header.end()) {
            Err(error) if may_wait && sys::is_mapped(&error) => {
                let len = self.file.metadata().map_err(|error| Error::io("fstat", &self.path, error))?.len();
                self.mapping.owe(header, len);
                Ok(())
            }
            done => done.map_err(|error| Error::io("ftruncate", &self.path, error)),
        }
    }

    fn is_raw(&self) -> bool {
        self.new.format() == Format::Raw
    }

    /// Bytes that are to be written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.new.end().saturating_sub(self.old.end())
    }

    /// Whether there is nothing to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the disk space for all rows aside: for whoever writes them in several blocks.
    ///
    /// # Errors
    /// [`Error::Io`]: `ENOSPC` where there is not so much.
    pub fn reserve(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.begun.store(true, Ordering::Relaxed);
        sys::reserve_past(&self.file, self.old.end(), self.len())
            .map_err(|error| Error::io("fallocate", &self.path, error))
    }

    /// Writes whole elements, in this machine's byte order, at byte `offset` of the new rows.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past their end, [`Error::Io`] when the system refuses.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let position = self.place(offset, bytes.len())?;
        let swapped;
        let size = self.new.dtype().itemsize();
        let bytes = if self.is_foreign() {
            swapped =
                bytes.chunks(size).flat_map(|element| element.iter().rev().copied()).collect::<Vec<_>>();
            &swapped
        } else {
            bytes
        };
        sys::write_all_at(&self.file, bytes, position).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Whether the bytes of an element are the other way round in the file.
    pub(crate) fn is_foreign(&self) -> bool {
        self.new.dtype().itemsize() > 1 && self.new.byte_order() != ByteOrder::NATIVE
    }

    /// The byte of the file where `len` bytes at byte `offset` of the new rows go; nothing is in the way of writing there.
    pub(crate) fn place(&self, offset: u64, len: usize) -> Result<u64> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len()) {
            return Err(Error::out_of_range(format!(
                "{len} bytes at byte {offset} do not fit into rows of {} bytes",
                self.len()
            )));
        }
        self.lengthen()?;
        Ok(self.old.end().saturating_add(offset))
    }

    /// A raw file has its new length before its rows: writing them would pass through every length between.
    fn lengthen(&self) -> Result<()> {
        self.begun.store(true, Ordering::Relaxed);
        if self.is_raw() && !self.longer.swap(true, Ordering::Relaxed) {
            self.reserve()?;
            sys::set_len(&self.file, self.new.end())
                .map_err(|error| Error::io("ftruncate", &self.path, error))?;
        }
        Ok(())
    }

    /// Gives the new rows zeros, with the disk space behind them.
    ///
    /// # Errors
    /// [`Error::Io`]: `ENOSPC` where there is not so much.
    pub fn write_zeros(&self) -> Result<()> {
        let failed = |syscall| move |error| Error::io(syscall, &self.path, error);
        self.reserve()?;
        let (from, end) = (self.old.end(), self.new.end());
        let len = self.file.metadata().map_err(failed("fstat"))?.len();
        self.longer.store(true, Ordering::Relaxed);
        // A raw file is as long as its array, and may be longer now by what an append that failed has left.
        if len < end || self.is_raw() {
            sys::set_len(&self.file, end).map_err(failed("ftruncate"))?;
        }
        // Behind the end of a file its last page may hold what somebody has stored there through a mapping; and where nothing
        // could be cut off there are the rows of before.
        let page = sys::page_size() as u64;
        let rest = end.min(len.max(from - from % page + page));
        for at in (from..rest).step_by(ZEROS.len()) {
            let count = usize::try_from(rest - at).unwrap_or(usize::MAX);
            sys::write_all_at(&self.file, ZEROS.get(..count).unwrap_or(&ZEROS), at)
                .map_err(failed("write"))?;
        }
        Ok(())
    }

    /// The bytes of the header that become others.
    fn changed(&self) -> Range<usize> {
        let differs = |(old, new): (&u8, &u8)| old != new;
        let mut pairs = self.growable.text.iter().zip(&self.text);
        let start = pairs.clone().position(differs).unwrap_or_default();
        start..pairs.rposition(differs).map_or(start, |last| last + 1)
    }

    /// Makes the rows part of the array: writes the header. With `durable` rows and header are on the disk then.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::TooLarge`]; the file is as it was before.
    pub fn commit(mut self, durable: bool) -> Result<Grown> {
        let mapping = self.map()?;
        let sync = || {
            if !durable {
                return Ok(());
            }
            fault::point("fsync")
                .and_then(|()| self.file.sync_data())
                .inspect_err(|error| self.mapping.sync_failed(error))
                .map_err(|error| Error::io("fdatasync", &self.path, error))
        };
        let shorter = self.new.end() < self.old.end();
        if !shorter {
            self.lengthen()?;
            sync()?;
        }
        let written = self.write_header(&self.text).and_then(|()| {
            // Bytes behind the new end are no part of the array any more.
            if shorter { self.cut(&self.new, !self.is_raw()) } else { Ok(()) }
        });
        if let Err(error) = written.and_then(|()| sync()) {
            // It may be there or not; where it cannot be taken back, the next append finds another header than it knows.
            drop(self.write_header(&self.growable.text));
            return Err(error);
        }
        self.begun = AtomicBool::new(false);
        self.mapping.follow(&self.new);
        if !durable {
            mapping.as_ref().unwrap_or(&*self.mapping).follow_writes(&self.mapping, true);
        }
        let growable = Growable { text: std::mem::take(&mut self.text), ..self.growable.clone() };
        Ok(Grown { header: self.new.clone(), growable, mapping })
    }

    /// A mapping for the array as it will be, where the one it has is too short. The file has the rows already.
    fn map(&self) -> Result<Option<Mapping>> {
        let len = self.new.data_len();
        if len <= self.mapping.len() as u64 {
            let restored = self.mapping.restore();
            return restored.map(|()| None).map_err(|error| Error::io("mmap", &self.path, error));
        }
        fault::point("mmap").map_err(|error| Error::io("mmap", &self.path, error))?;
        self.mapping.extended(len, reserve_for(len, self.capacity), &self.path).map(Some)
    }

    fn write_header(&self, text: &[u8]) -> Result<()> {
        let changed = self.changed();
        let bytes = text.get(changed.clone()).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        sys::write_all_at(&self.file, bytes, changed.start as u64)
            .map_err(|error| Error::io("write", &self.path, error))
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        if self.begun.load(Ordering::Relaxed) {
            // Nobody is left to tell: the error that led here is on its way. Bytes that stay are trailing ones.
            drop(self.cut(&self.old, !self.is_raw() || self.longer.load(Ordering::Relaxed)));
        }
        self.mapping.release();
    }
}
