//! What is said and asked about pages: `madvise`, `posix_fadvise`, `mincore`.

use std::fs::File;
use std::io;

use crate::advice::Advice;

/// Passes an advice on for whole pages. Never loses a store: see [`drop_pages`].
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's, where stores reach the file if it is `shared`.
pub(crate) unsafe fn advise(start: *mut u8, len: usize, advice: Advice, shared: bool) -> io::Result<()> {
    let advice = match advice {
        Advice::Normal => libc::MADV_NORMAL,
        Advice::Sequential => libc::MADV_SEQUENTIAL,
        Advice::Random => libc::MADV_RANDOM,
        Advice::WillNeed => libc::MADV_WILLNEED,
        Advice::DontNeed => {
            // SAFETY:
            // - as promised to this function.
            return unsafe { drop_pages(start, len, shared) };
        }
    };
    // SAFETY:
    // - whole pages of a mapping of the caller's; none of these four changes what is read there.
    unsafe { madvise(start, len, advice) }
}

/// Takes pages out of memory.
///
/// `MADV_DONTNEED` throws away what was stored to the pages of a private mapping, and one thread cannot know that another is
/// not storing just now. So it is for shared mappings only, whose pages are the file's; a private one is paged out,
/// which writes its own pages to the swap or leaves them where they are.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's, where stores reach the file if it is `shared`.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn drop_pages(start: *mut u8, len: usize, shared: bool) -> io::Result<()> {
    let advice = if shared { libc::MADV_DONTNEED } else { libc::MADV_PAGEOUT };
    // SAFETY:
    // - whole pages of a mapping of the caller's.
    // - MADV_PAGEOUT changes nothing that is read there; MADV_DONTNEED does not where stores are the file's already.
    unsafe { madvise(start, len, advice) }
}

/// Drops what no mapping has any more, and the disk has, from the page cache.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn forget(file: &File, offset: u64, len: usize) {
    use std::os::fd::AsRawFd;

    let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) else {
        return;
    };
    // A refusal leaves it there.
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call, which touches no memory of ours.
    let _ = unsafe { libc::posix_fadvise64(file.as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED) };
}

/// The page cache is not told anything here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn forget(_file: &File, _offset: u64, _len: usize) {}

/// Lets pages of a shared mapping go first when memory is short; those of a private one are left alone.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's, where stores reach the file if it is `shared`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn drop_pages(start: *mut u8, len: usize, shared: bool) -> io::Result<()> {
    if !shared {
        return Ok(());
    }
    // SAFETY:
    // - whole pages of a mapping of the caller's, in which stores are the file's already.
    unsafe { madvise(start, len, libc::MADV_DONTNEED) }
}

/// Reads pages in and maps them; false where that did not work for all of them, or cannot be asked for.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) unsafe fn populate(start: *mut u8, len: usize) -> bool {
    // SAFETY:
    // - whole pages of a mapping of the caller's; neither changes what is read there.
    // - pages that the file has lost are an error (EFAULT) and not a fault.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_POPULATE_READ) == 0 }
}

/// Reads pages in; false, because that cannot be asked for here.
///
/// # Safety
/// None is needed: nothing is done.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) unsafe fn populate(_start: *mut u8, _len: usize) -> bool {
    false
}

/// How many of some whole pages are in memory.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's.
pub(crate) unsafe fn resident(start: *mut u8, len: usize) -> io::Result<usize> {
    let page = super::page_size();
    // One byte for each page; of no more than these at once.
    let mut found = vec![0_u8; (len / page).min(1 << 14)];
    let mut resident = 0;
    for from in (0..len).step_by(page * found.len().max(1)) {
        let part = (len - from).min(page * found.len());
        // SAFETY:
        // - `from` is less than `len`.
        let at = unsafe { start.add(from) };
        // SAFETY:
        // - whole pages of a mapping of the caller's.
        // - mincore writes a byte for each of them, and `found` has as many.
        let done = unsafe { libc::mincore(at.cast(), part, found.as_mut_ptr().cast()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // Only the lowest bit says so everywhere.
        resident += found.iter().take(part / page).filter(|&&state| state & 1 == 1).count();
    }
    Ok(resident)
}

/// Gives an advice; one that the system does not know has no effect.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's, and the advice changes nothing that the caller relies on.
unsafe fn madvise(start: *mut u8, len: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY:
    // - as promised to this function.
    if unsafe { libc::madvise(start.cast(), len, advice) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
}
