//! Checksums of a file in blocks, kept beside it, and the blocks of an array that are not as they were.
//!
//! They are of the whole file as others read it, header included, and not of one array: so one sidecar serves every
//! tensor, member and field that the file holds, and [`verify`](DynMmapArray::verify) says what a bad block means for the
//! array that is asked. All bytes are read by the file's descriptor, never through the mapping: stores that are private to this
//! process (modes `r` and `c`) do not count, and those of mode `r+` count at once, flushed or not.
//!
//! The sidecar is called as the file with `.blocksums` after it; what is in it [`Sums`] reads and writes.
//!
//! XXH3 finds accidents, not forgers. It is that of `twox-hash`: MIT, no dependencies, Rust 1.81, and it looks for AVX2 when it runs
//! (SSE2 and NEON otherwise, plain Rust elsewhere). Over 1 MiB in pieces it made 19.5 GB/s, `xxhash-rust` 5.7 and `crc32c` 4.8;
//! `crc-fast` was as fast, with nine crates behind it and half the bits.
//!
//! Past 400 lines by a few: making and verifying share the walk over the blocks, and the file of sums has its own module.

#![deny(clippy::indexing_slicing)]

mod sums;

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::hash::Hasher;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;

use crate::advice::Pages;
use crate::array::DynMmapArray;
use crate::draft::{Draft, follow_links};
use crate::error::{Error, Result};
use crate::fault;
use crate::file;
use crate::format::Format;
use crate::guard::Loss;
use crate::kernel::Control;
use crate::kernel::crew::{crowd, workers};
use crate::mode::Mode;
use crate::sys;
use sums::{MAGIC, PIECE, SUM_LEN, invalid};

pub use sums::{BLOCK_SIZES, Sums};

/// What the name of a sidecar has after that of its file.
pub const SUFFIX: &str = ".blocksums";

/// How many bad blocks are listed; the rest is only counted.
pub const LISTED: usize = 10_000;

/// Below this many bytes one thread does it all.
const LARGE: u64 = 8 << 20;

/// What became of the blocks of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of a block; block `n` begins at byte `n` times that of the file.
    pub block: u64,
    /// How many blocks were looked at.
    pub blocks: u64,
    /// How many of them are bad.
    pub damaged: u64,
    /// The first [`LISTED`] of the bad ones, in order.
    pub bad: Vec<BadBlock>,
}

/// A block whose bytes are not those that its checksum was made of, or that the storage does not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// Which block of the file.
    pub index: u64,
    /// The positions of the array that have a byte in it, as layouts count them; none where it has other bytes only.
    pub elements: Range<u64>,
    /// The indices of axis 0 with a byte in it, where those lie one after the other in the file (C order).
    pub rows: Option<Range<u64>>,
}

impl DynMmapArray {
    /// Where the checksums of the file are: its path with [`SUFFIX`].
    #[must_use]
    pub fn sidecar(&self) -> PathBuf {
        let mut path = self.file_path().as_os_str().to_owned();
        path.push(SUFFIX);
        path.into()
    }

    /// Bytes that [`checksum`](Self::checksum) goes through: those of the file.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::MappingLost`], [`Error::Io`].
    pub fn checksum_bytes(&self) -> Result<u64> {
        Ok(self.source()?.1)
    }

    /// Bytes that [`verify`](Self::verify) counts: of the file, or of the array in a file that may have others.
    ///
    /// # Errors
    /// As [`checksum_bytes`](Self::checksum_bytes).
    pub fn verify_bytes(&self) -> Result<u64> {
        let (_, len) = self.source()?;
        Ok(if self.is_whole_file() { len } else { self.header().data_len() })
    }

    /// Writes checksums of the file, in blocks of `block` bytes, beside it: whole or not at all, in the place of those that
    /// are there. At most `threads` work on it, by default one for each core if the file is large; `control` counts bytes.
    ///
    /// What is written to the file meanwhile may or may not be in them. Of a file of 1 TiB and with blocks of 1 MiB they have 8 MiB;
    /// no more than 256 KiB for each thread are in memory.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a block outside of [`BLOCK_SIZES`]; [`Error::Stale`] where the path names another file;
    /// [`Error::Outdated`] where the length changes meanwhile; `EEXIST` where something else than checksums has their name;
    /// [`Error::MappingLost`], [`Error::Closed`], [`Error::Aborted`], [`Error::Io`]. After any of them the sidecar is as it was, or
    /// was not there; after one with `fsync` of the folder it is the new one.
    pub fn checksum(&self, block: u64, threads: Option<usize>, control: Control) -> Result<()> {
        let (file, len) = self.source()?;
        let sums = Sums::new(block, len)?;
        self.check_identity()?;
        let sidecar = self.sidecar();
        let path = sidecar.as_path();
        let failed = |syscall| move |error| Error::io(syscall, path, error);
        let target = follow_links(path).map_err(failed("open"))?;
        let replaced = to_replace(&target).map_err(failed("open"))?;
        let draft = Draft::begin(target, path, replaced.as_ref())?;
        let sidecar = draft.file();
        sys::reserve(sidecar, sums.sidecar_len()).map_err(failed("fallocate"))?;
        sys::write_all_at(sidecar, &sums.header(), 0).map_err(failed("write"))?;
        let work = Work { file: &file, sums, counted: 0..len, control, stopped: AtomicBool::new(false) };
        work.share(threads, len, 0..sums.blocks(), &|index, sum| {
            let sum = sum.map_err(|error| self.unread(error))?;
            sys::write_all_at(sidecar, &sum.to_le_bytes(), Sums::place(index)).map_err(failed("write"))
        })?;
        // Of the sidecar's own bytes, as they are in it.
        let end = Sums::place(sums.blocks());
        let own = Work { file: sidecar, counted: 0..0, ..work };
        let own = own.hash(0..end, &mut vec![0; PIECE])?.map_err(failed("read"))?;
        sys::write_all_at(sidecar, &own.to_le_bytes(), end).map_err(failed("write"))?;
        draft.sync()?;
        let (_, now) = self.source()?;
        if now != len {
            return Err(Error::outdated(
                self.file_path(),
                format!(
                    "it had {len} bytes and has {now} now. Call checksum again when nobody changes its length"
                ),
            ));
        }
        self.check_identity()?;
        to_replace(draft.target()).map_err(failed("open"))?;
        if control.is_cancelled() {
            return Err(Error::Aborted);
        }
        draft.publish(true, None)
    }

    /// Compares the file with the checksums beside it, and says which blocks are not as they were.
    ///
    /// Of an `npy` or `mmap` file opened without a name all blocks are looked at, its header among them; otherwise those that have
    /// bytes of the array. `threads` and `control` are as for [`checksum`](Self::checksum).
    ///
    /// # Errors
    /// [`Error::Io`] of the sidecar: `ENOENT` where there is none; [`Error::InvalidHeader`] and
    /// [`Error::UnsupportedVersion`] of it; [`Error::Outdated`] where it is of a file of another length; [`Error::Stale`]
    /// where the path names another file; [`Error::MappingLost`], [`Error::Closed`], [`Error::Aborted`], [`Error::Io`].
    pub fn verify(&self, threads: Option<usize>, control: Control) -> Result<Verified> {
        let (file, len) = self.source()?;
        self.check_identity()?;
        let path = self.sidecar();
        let (sidecar, sidecar_len) = file::open(&path, Mode::ReadOnly)?;
        let sums = Sums::read(&mut &sidecar, sidecar_len, control).map_err(|error| error.at(&path))?;
        if sums.covered() != len {
            return Err(Error::outdated(
                self.file_path(),
                format!(
                    "its checksums are of {} bytes, and it has {len}. If it was to become longer or shorter, call \
                     checksum() again; if not, restore it",
                    sums.covered()
                ),
            ));
        }
        let data = self.header().data_offset()..self.header().data_offset() + self.header().data_len();
        let counted = if self.is_whole_file() { 0..len } else { data };
        let total = counted.end - counted.start;
        let work = Work { file: &file, sums, counted, control, stopped: AtomicBool::new(false) };
        let found = Mutex::new((0, 0, BTreeSet::new()));
        work.share(threads, total, self.blocks(sums)?, &|index, sum| {
            let mut expected = [0; SUM_LEN];
            sys::read_exact_at(&sidecar, &mut expected, Sums::place(index)).map_err(|error| {
                let cut = error.kind() == io::ErrorKind::UnexpectedEof;
                if cut { invalid("it is cut off").at(&path) } else { Error::io("read", &path, error) }
            })?;
            let good = match sum {
                Ok(sum) => sum == u64::from_le_bytes(expected),
                // What the storage does not deliver is as bad as what it has mixed up.
                Err(error) if sys::error_name(&error) == "EIO" => false,
                Err(error) => return Err(self.unread(error)),
            };
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            let (blocks, damaged, bad) = &mut *found;
            *blocks += 1;
            if !good {
                *damaged += 1;
                bad.insert(index);
                if bad.len() > LISTED {
                    bad.pop_last();
                }
            }
            Ok(())
        })?;
        self.check_loss()?;
        let (blocks, damaged, bad) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let bad = bad.into_iter().map(|index| self.bad_block(sums, index)).collect();
        Ok(Verified { block: sums.block(), blocks, damaged, bad })
    }

    /// The file that is mapped, and its length.
    fn source(&self) -> Result<(Arc<File>, u64)> {
        let (mapping, path) = (self.mapping(), self.file_path());
        let file = mapping.file().ok_or_else(|| Error::Closed { path: path.to_path_buf() })?;
        mapping.write_back()?;
        let metadata = fault::point("fstat").and_then(|()| sys::file_metadata(&file));
        let len = metadata.map_err(|error| Error::io("fstat", path, error))?.len();
        if len < mapping.end() {
            mapping.lose(Loss::Truncated);
        }
        self.check_loss()?;
        Ok((file, len))
    }

    /// Why bytes that the file had a moment ago cannot be read.
    fn unread(&self, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return Error::io("read", self.file_path(), error);
        }
        let reason = "it was made shorter while it was read. Try again when nobody changes its length";
        self.source().err().unwrap_or_else(|| Error::outdated(self.file_path(), reason))
    }

    /// Whether the file is there for this array alone.
    fn is_whole_file(&self) -> bool {
        self.name().is_none() && matches!(self.header().format(), Format::Npy | Format::Mmap)
    }

    /// The blocks to look at, ascending and apart.
    fn blocks(&self, sums: Sums) -> Result<Box<dyn Iterator<Item = u64> + Send>> {
        if self.is_whole_file() {
            return Ok(Box::new(0..sums.blocks()));
        }
        let (header, block) = (self.header(), sums.block());
        let (first, before) = (header.data_offset() / block, header.data_offset() % block);
        // Blocks are to the file what pages are to the mapping.
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let place = (size(before), size(header.data_len()));
        let each = (size(header.unit()), self.dtype().itemsize());
        let pages = Pages::new(place, size(block), &self.layout()?, each).ok_or_else(|| {
            Error::out_of_range(format!(
                "{} bytes of data are more than this process can address",
                header.data_len()
            ))
        })?;
        Ok(Box::new(
            pages.flat_map(move |pages| first + pages.start as u64 / block..first + pages.end as u64 / block),
        ))
    }

    fn bad_block(&self, sums: Sums, index: u64) -> BadBlock {
        let header = self.header();
        let (unit, itemsize) = (i128::from(header.unit()), self.dtype().itemsize() as i128);
        let bytes = sums.bytes(index);
        // From here on bytes count from the first one of the data on.
        let from_data = |byte: u64| i128::from(byte) - i128::from(header.data_offset());
        let bytes = from_data(bytes.start)..from_data(bytes.end);
        let elements = Spans { first: 0, step: unit, bytes: 0..itemsize, count: self.units() }.within(&bytes);
        let mut axes =
            header.shape().iter().zip(header.strides()).map(|(&n, &stride)| (n, i128::from(stride) * unit));
        let rows = axes.next().and_then(|(count, step)| {
            let reach = |(n, step): (u64, i128)| i128::from(n.max(1) - 1) * step;
            let (low, high) = axes
                .map(reach)
                .fold((0, itemsize), |(low, high), reach| (low + reach.min(0), high + reach.max(0)));
            let first = i128::from(header.offset()) * unit;
            // A single row is as far from the next one as it likes.
            let step = if count < 2 { high - low } else { step };
            (step.abs() >= high - low).then(|| Spans { first, step, bytes: low..high, count }.within(&bytes))
        });
        let rows = rows.filter(|_| !header.is_empty());
        BadBlock { index, elements, rows }
    }
}

/// Things at equal distances that have bytes.
struct Spans {
    /// Where the first one is.
    first: i128,
    step: i128,
    /// The bytes of each, from where it is on.
    bytes: Range<i128>,
    count: u64,
}

impl Spans {
    /// Those that have one of `bytes`.
    fn within(self, bytes: &Range<i128>) -> Range<u64> {
        let count = i128::from(self.count);
        // From the lowest one on upwards.
        let lowest = if self.step < 0 { self.first + (count - 1) * self.step } else { self.first };
        let step = self.step.abs().max(1);
        let start = (bytes.start - lowest - self.bytes.end).div_euclid(step) + 1;
        let end = -(lowest + self.bytes.start - bytes.end).div_euclid(step);
        let (start, end) = (start.clamp(0, count), end.clamp(0, count));
        let (start, end) = if self.step < 0 { (count - end, count - start) } else { (start, end) };
        let index = |n: i128| u64::try_from(n).unwrap_or_default();
        index(start)..index(end.max(start))
    }
}

/// Blocks that are hashed.
struct Work<'a> {
    file: &'a File,
    sums: Sums,
    /// Bytes of the file that are told of.
    counted: Range<u64>,
    control: Control<'a>,
    /// Set after an error: the rest is of no use.
    stopped: AtomicBool,
}

impl Work<'_> {
    /// Hashes blocks that have `bytes` between them, on several threads where those are many, and calls `visit` with each.
    ///
    /// # Errors
    /// Those of `visit`, the first of which ends it; [`Error::Aborted`].
    fn share(
        &self,
        threads: Option<usize>,
        bytes: u64,
        blocks: impl Iterator<Item = u64> + Send,
        visit: &(dyn Fn(u64, io::Result<u64>) -> Result<()> + Sync),
    ) -> Result<()> {
        let most = usize::try_from(bytes / self.sums.block()).unwrap_or(usize::MAX).saturating_add(1);
        let blocks = Mutex::new(blocks);
        let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let mut memory = vec![0; PIECE];
            while let Some(index) = if self.is_over() { None } else { next() } {
                let done = self.hash(self.sums.bytes(index), &mut memory).and_then(|sum| visit(index, sum));
                if done.is_err() {
                    self.stopped.store(true, Ordering::Relaxed);
                    return done;
                }
            }
            if self.control.is_cancelled() { Err(Error::Aborted) } else { Ok(()) }
        };
        let ended = crowd(workers(threads, bytes >= LARGE).min(most), work);
        // Those that were stopped say nothing of why.
        let mut errors = ended.into_iter().filter_map(Result::err);
        let first = errors.next();
        let cause = errors.find(|_| matches!(first, Some(Error::Aborted)));
        cause.or(first).map_or(Ok(()), Err)
    }

    fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.control.is_cancelled()
    }

    /// The hash of a part of the file, read through `memory`.
    fn hash(&self, part: Range<u64>, memory: &mut [u8]) -> Result<io::Result<u64>> {
        let mut hash = XxHash3_64::new();
        let mut at = part.start;
        while at < part.end {
            if self.is_over() {
                return Err(Error::Aborted);
            }
            let size = usize::try_from(part.end - at).unwrap_or(PIECE).min(memory.len());
            let Some(bytes) = memory.get_mut(..size) else { break };
            if let Err(error) = fault::point("read").and_then(|()| sys::read_exact_at(self.file, bytes, at)) {
                return Ok(Err(error));
            }
            hash.write(bytes);
            let next = at + size as u64;
            let counted = self.counted.end.min(next).saturating_sub(self.counted.start.max(at));
            self.control.add(usize::try_from(counted).unwrap_or(size));
            at = next;
        }
        Ok(Ok(hash.finish()))
    }
}

/// What is known of a sidecar that is to be replaced; `EEXIST` for a file of that name which is none.
fn to_replace(target: &Path) -> io::Result<Option<Metadata>> {
    fault::point("lstat")?;
    let metadata = match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    file::check_regular(&metadata)?;
    let mut magic = [0; MAGIC.len()];
    let file = sys::never_wait(File::options().read(true)).open(target)?;
    match sys::read_exact_at(&file, &mut magic, 0) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ if magic != MAGIC => Err(io::ErrorKind::AlreadyExists.into()),
        _ => Ok(Some(metadata)),
    }
}
