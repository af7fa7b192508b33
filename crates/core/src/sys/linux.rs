//! What only Linux says: which pages of a private mapping are this process's own, and where a file has holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::fault;

/// Regions that one call is given room for. From 513 on, kernels up to 6.18 at least report some of them twice.
const REGIONS: usize = 512;

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: u64 = 0xC060_6610;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;

/// The bits of an entry of `/proc/self/pagemap` that mean the same three things.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE: u64 = 1 << 61;

/// Entries of `/proc/self/pagemap` that are read at a time.
const ENTRIES: usize = 1 << 13;

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The page map of this process.
#[derive(Debug)]
pub(crate) struct PageMap(File);

impl PageMap {
    pub(crate) fn open() -> io::Result<Self> {
        fault::point("open pagemap")?;
        File::open("/proc/self/pagemap").map(Self)
    }

    /// Gives `found` the addresses of private pages between two page boundaries, in ascending order (Linux 6.7 and later).
    pub(crate) fn scan(&self, pages: Range<usize>, found: &mut dyn FnMut(Range<usize>)) -> io::Result<()> {
        fault::point("PAGEMAP_SCAN")?;
        let mut regions = [Region::default(); REGIONS];
        let (mut start, end) = (pages.start as u64, pages.end as u64);
        while start < end {
            let mut arg = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags: 0,
                start,
                end,
                walk_end: 0,
                vec: regions.as_mut_ptr().expose_provenance() as u64,
                vec_len: REGIONS as u64,
                max_pages: 0,
                category_inverted: PAGE_IS_FILE,
                category_mask: PAGE_IS_FILE,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: PAGE_IS_PRESENT,
            };
            // SAFETY:
            // - the descriptor is open: `self` is borrowed for the call.
            // - `arg` is a pm_scan_arg that says its own size; the kernel writes its `walk_end` and at most `vec_len`
            //   regions to `regions`, which is ours alone, and keeps no pointer. Other kernels do not know the number.
            let count = unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arg) };
            let Ok(count) = usize::try_from(count) else {
                return Err(io::Error::last_os_error());
            };
            for region in regions.get(..count).unwrap_or_default() {
                found(address(region.start)?..address(region.end)?);
            }
            if arg.walk_end <= start {
                return Err(io::ErrorKind::InvalidData.into());
            }
            start = arg.walk_end;
        }
        Ok(())
    }

    /// The same from the map's own bytes, in time that grows with the length of the range.
    pub(crate) fn read(&self, pages: Range<usize>, found: &mut dyn FnMut(Range<usize>)) -> io::Result<()> {
        fault::point("read pagemap")?;
        let page = super::page_size();
        let mut entries = vec![0; ENTRIES * 8];
        for start in pages.clone().step_by(ENTRIES * page) {
            let count = (pages.end - start).div_ceil(page).min(ENTRIES);
            let bytes = entries.get_mut(..count * 8).unwrap_or_default();
            self.0.read_exact_at(bytes, (start / page * 8) as u64)?;
            for (n, bytes) in bytes.chunks_exact(8).enumerate() {
                let entry = bytes.try_into().map_or(0, u64::from_ne_bytes);
                if entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0 {
                    found(start + n * page..start + (n + 1) * page);
                }
            }
        }
        Ok(())
    }
}

fn address(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Gives `to` the contents of `from` without copying any, where the file system shares blocks; false where it does not.
pub(crate) fn clone_contents(from: &File, to: &File) -> io::Result<bool> {
    let cloned = fault::point("FICLONE").and_then(|()| {
        // SAFETY:
        // - both descriptors are open: the files are borrowed for the call, which has no pointers.
        let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE as _, from.as_raw_fd()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    });
    match cloned {
        Ok(()) => Ok(true),
        // What file systems that share no blocks, or not these two files', say.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(
                    libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL | libc::EXDEV | libc::ENOSYS | libc::EPERM
                )
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The next bytes of a file of `len` bytes that are no hole, from byte `from` on; `None` when only a hole is left.
pub(crate) fn next_data(file: &File, from: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    fault::point("SEEK_DATA")?;
    let start = match seek(file, from, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        // A file system that does not say: all of it is data.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Some(from..len)),
        start => start?,
    };
    let end = seek(file, start, libc::SEEK_HOLE)?;
    Ok((start < len).then(|| start..end.min(len)))
}

/// Moves the file's position, which nothing else here reads.
fn seek(file: &File, to: u64, whence: libc::c_int) -> io::Result<u64> {
    let Ok(to) = libc::off64_t::try_from(to) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call, which has no pointers.
    let found = unsafe { libc::lseek64(file.as_raw_fd(), to, whence) };
    u64::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// Takes away the private copies of whole pages: what is there next is the file's.
///
/// # Safety
/// The pages are a private mapping of the caller's, and nobody has a reference to them.
pub(crate) unsafe fn drop_private(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY:
    // - the caller says that the pages are its own, private, and without references.
    let done = unsafe { libc::madvise(start.cast(), len, libc::MADV_DONTNEED) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reserves disk space behind a part of a file; its length and contents stay.
pub(crate) fn reserve_part(file: &File, part: Range<u64>) -> io::Result<()> {
    let (Ok(start), Ok(len)) =
        (libc::off64_t::try_from(part.start), libc::off64_t::try_from(part.end - part.start))
    else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    loop {
        let done = fault::point("fallocate").and_then(|()| {
            // SAFETY:
            // - the descriptor is open: `file` is borrowed for the call, which has no pointers.
            let done = unsafe { libc::fallocate64(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, start, len) };
            if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
        match done {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                return Ok(());
            }
            done => return done,
        }
    }
}
