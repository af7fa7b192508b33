//! A file mapped into memory.
//!
//! What is mapped cannot be replaced in one step here, as it can on Unix. A view that is to make way for zero pages is
//! taken down and its addresses are reserved, in two steps; whoever touches them afterwards gets an exception, and the
//! guard puts a zero page there. A thread that asks for memory between the two steps must not be given the addresses, so
//! views lie where nobody looks for room. memmap2 leaves the choice to the system, which gives out again at once what
//! has just become free.

use std::ffi::c_void;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use windows_sys::Win32::Foundation::ERROR_INVALID_ADDRESS;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_COPY, FILE_MAP_READ, FILE_MAP_WRITE, FlushViewOfFile, MEM_RELEASE,
    MEM_RESERVE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFileEx, PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY,
    UnmapViewOfFile, VirtualAlloc, VirtualFree, VirtualProtect,
};

use super::granularity;

/// Where views lie, in bytes: the system gives out the lowest addresses first, or the highest, and V8 draws its own
/// from the first 4 TiB.
const FIRST: u64 = 16 << 40;
const SPAN: u64 = 64 << 40;

/// How many addresses are tried before the system is left to choose, as it is in a 32-bit process.
const TRIES: u32 = 16;

/// What may be done with the pages of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Loads and stores; stores reach the file.
    Write,
    /// Loads and stores; stores stay in this process. The system counts every page as memory that may be needed.
    Copy,
    /// Loads, and stores to pages that [`make_private`] was called for.
    Read,
}

/// A mapped range of a file. Unmapped when dropped; addresses that are reserved instead are given back.
#[derive(Debug)]
pub(crate) struct View {
    /// Address of the first page.
    base: usize,
    /// Bytes before the range, which starts anywhere in the file.
    lead: usize,
    /// Whether the addresses are somebody else's.
    gone: AtomicBool,
}

impl View {
    /// Maps `len` bytes from byte `offset` on, which the file holds.
    pub(crate) fn new(file: &File, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        let (protection, access) = match access {
            Access::Write => (PAGE_READWRITE, FILE_MAP_READ | FILE_MAP_WRITE),
            Access::Copy => (PAGE_WRITECOPY, FILE_MAP_COPY),
            Access::Read => (PAGE_READONLY, FILE_MAP_READ),
        };
        // SAFETY:
        // - the handle is open: `file` is borrowed for the call; the other pointers are null, which is allowed.
        let section =
            unsafe { CreateFileMappingW(file.as_raw_handle(), ptr::null(), protection, 0, 0, ptr::null()) };
        if section.is_null() {
            return Err(io::Error::last_os_error());
        }
        // The view keeps what it needs of the section.
        // SAFETY:
        // - the handle was just made, and nobody else has it.
        let section = unsafe { OwnedHandle::from_raw_handle(section) };
        let unit = granularity() as u64;
        let lead = offset % unit;
        let start = offset - lead;
        let [high, low] =
            [start >> 32, start & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(0));
        // Less than the granularity.
        let lead = usize::try_from(lead).unwrap_or_default();
        let size = len.saturating_add(lead);
        for hint in (0..TRIES).map(|_| somewhere(size as u64, unit)).chain([0]) {
            let Ok(hint) = usize::try_from(hint) else {
                continue;
            };
            let hint: *const c_void = ptr::without_provenance(hint);
            // SAFETY:
            // - the system maps where nothing is, or fails; the handle is that of a section.
            let view = unsafe { MapViewOfFileEx(section.as_raw_handle(), access, high, low, size, hint) };
            if !view.Value.is_null() {
                return Ok(Self { base: view.Value.expose_provenance(), lead, gone: AtomicBool::new(false) });
            }
            let error = io::Error::last_os_error();
            // Something is there already; any other error has nothing to do with the address.
            if hint.is_null() || error.raw_os_error() != Some(ERROR_INVALID_ADDRESS.cast_signed()) {
                return Err(error);
            }
        }
        Err(io::ErrorKind::OutOfMemory.into())
    }

    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.base + self.lead)
    }

    /// Hands the pages that hold `len` bytes from byte `offset` on to the file's cache, if they were stored to.
    pub(crate) fn flush_range(&self, offset: usize, len: usize) -> io::Result<()> {
        let first = self.as_mut_ptr().wrapping_add(offset);
        // SAFETY:
        // - reads no memory of ours; addresses that are no view are an error.
        let done = unsafe { FlushViewOfFile(first.cast(), len) };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The addresses are somebody else's from now on: dropping the view does nothing.
    pub(crate) fn give_up(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        let base: *mut c_void = ptr::with_exposed_provenance_mut(self.base);
        // SAFETY:
        // - the view is owned by this, and nobody touches it any more.
        // - where `reserve_view` has taken it down there is none, and the call fails.
        if unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: base }) } == 0 {
            // SAFETY:
            // - reserved by `reserve_view`, and released here and nowhere else.
            let released = unsafe { VirtualFree(base, 0, MEM_RELEASE) };
            debug_assert_ne!(released, 0);
        }
    }
}

/// An address for `size` bytes that no view had lately, a multiple of `unit`.
fn somewhere(size: u64, unit: u64) -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    static USED: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| RandomState::new().build_hasher().finish() % SPAN);
    // One unit more than needed: a load past the end of a view is not one of the next.
    let used = USED.fetch_add(size.saturating_add(unit), Ordering::Relaxed);
    let address = FIRST + start.wrapping_add(used) % SPAN;
    address - address % unit
}

/// Takes the view at `start` down and reserves its addresses, `len` bytes of whole pages: nothing can be mapped there,
/// and there is no memory.
///
/// # Errors
/// What the system said. Then the addresses are no longer the caller's: another thread has taken them in between.
///
/// # Safety
/// `start` is the first address of a view of the caller's, and nobody has a reference to it.
pub(crate) unsafe fn reserve_view(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY:
    // - the view is the caller's.
    if unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: start.cast() }) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY:
    // - only reserves: addresses that somebody else has taken meanwhile are refused.
    let reserved = unsafe { VirtualAlloc(start.cast(), len, MEM_RESERVE, PAGE_READWRITE) };
    if reserved.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a page of a view that was mapped to be read only be stored to: private, so the store stays in this process.
///
/// # Safety
/// `address` is in a view of the caller's.
pub(crate) unsafe fn make_private(address: *const u8) -> io::Result<()> {
    let mut before = 0;
    // SAFETY:
    // - the page is one of a view of the caller's; a store to it then goes to a copy.
    let done = unsafe { VirtualProtect(address.cast(), 1, PAGE_WRITECOPY, &raw mut before) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
