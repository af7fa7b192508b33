//! Files by bare system calls: mapping, making, and putting them out of memory.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::Outcome;

/// How a file is mapped.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Read,
    Write,
    Private,
}

/// A whole file, mapped.
pub(crate) struct Map {
    base: *mut u8,
    len: usize,
}

impl Map {
    pub(crate) fn open(path: &str, mode: Mode) -> Outcome<Self> {
        let file = OpenOptions::new().read(true).write(matches!(mode, Mode::Write)).open(path)?;
        let len = usize::try_from(file.metadata()?.len())?;
        let (protection, flags) = match mode {
            Mode::Read => (libc::PROT_READ, libc::MAP_SHARED),
            Mode::Write => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
            Mode::Private => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
        };
        // SAFETY: a new mapping, at an address of the kernel's choice, of a file that is open.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        Ok(Self { base: base.cast(), len })
    }

    /// Elements from byte `offset` on, which is a multiple of their size.
    pub(crate) fn elements<T: Copy>(&self, offset: usize) -> &[T] {
        let count = (self.len - offset) / size_of::<T>();
        // SAFETY:
        // - the bytes are mapped and readable as long as `self`.
        // - `T` is a number, for which every byte pattern is valid, and a mapping is aligned to a page.
        // - nobody else writes the files of a benchmark while it reads them.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).cast(), count) }
    }

    /// The same, to write.
    pub(crate) fn elements_mut<T: Copy>(&mut self, offset: usize) -> &mut [T] {
        let count = (self.len - offset) / size_of::<T>();
        // SAFETY: as for `elements`; `&mut self` says that there is no other slice, and the caller mapped it for writing.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).cast(), count) }
    }

    /// Writes the mapping out to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping.
        if unsafe { libc::msync(self.base.cast(), self.len, libc::MS_SYNC) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and every slice of it has ended with the borrow of `self`.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// Creates a file whose `len` bytes have their place on the disk, where the file system can promise one.
pub(crate) fn reserve(path: &str, len: usize) -> Outcome<()> {
    let file = File::create(path)?;
    #[cfg(target_os = "linux")]
    // SAFETY: a system call on a file that is open.
    if unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len.try_into()?) } == 0 {
        return Ok(());
    }
    Ok(file.set_len(len.try_into()?)?)
}

/// Puts a file's pages out of memory, so that the next reader waits for the disk.
pub(crate) fn evict(path: &str) -> Outcome<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    #[cfg(target_os = "linux")]
    // SAFETY: a system call on a file that is open.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
    };
    Ok(())
}

/// Bytes before the data of a `.npy` file that [`make`] writes.
pub(crate) const HEADER: usize = 128;

/// Writes a `.npy` file of rows that `row` fills in, and waits until it is on the disk.
pub(crate) fn make(
    path: &str,
    (descr, fortran, shape): (&str, bool, [usize; 2]),
    lines: usize,
    mut line: impl FnMut(&mut Vec<u8>),
) -> Outcome<()> {
    let fortran = if fortran { "True" } else { "False" };
    let [rows, columns] = shape;
    let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({rows}, {columns}), }}");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&u16::try_from(HEADER - 10)?.to_le_bytes())?;
    writeln!(out, "{text:<width$}", width = HEADER - 11)?;
    let mut bytes = Vec::new();
    for _ in 0..lines {
        bytes.clear();
        line(&mut bytes);
        out.write_all(&bytes)?;
    }
    out.into_inner()?.sync_all()?;
    Ok(())
}

/// Opens a file, reads its header, maps it, reads one element and lets go of it: with nothing but system calls.
pub(crate) fn touch(path: &str) -> Outcome<f64> {
    let path = CString::new(path)?;
    let mut header = [0_u8; HEADER];
    let failed = || Err(io::Error::last_os_error().into());
    // SAFETY: the path ends with a zero.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return failed();
    }
    // SAFETY: `stat` is plain numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the file is open, and `stat` is a place for what is known of it.
    if unsafe { libc::fstat(file, &raw mut stat) } != 0 {
        return failed();
    }
    // SAFETY: the file is open, and `header` has that many bytes.
    if unsafe { libc::pread(file, header.as_mut_ptr().cast(), HEADER, 0) } < 0 {
        return failed();
    }
    let len = usize::try_from(stat.st_size)?;
    // SAFETY: a new mapping, at an address of the kernel's choice, of a file that is open.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file, 0) };
    if base == libc::MAP_FAILED {
        return failed();
    }
    // SAFETY: the file is longer than its header by an element at least, and the mapping is aligned to a page.
    let first = unsafe { base.cast::<u8>().add(HEADER).cast::<f32>().read_volatile() };
    // SAFETY: the range is the mapping.
    unsafe { libc::munmap(base, len) };
    // SAFETY: the file is open, and not used any more.
    unsafe { libc::close(file) };
    Ok(f64::from(first))
}
