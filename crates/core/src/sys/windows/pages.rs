//! What is said and asked about pages: `PrefetchVirtualMemory`, `QueryWorkingSetEx`.

use std::fs::File;
use std::io;
use std::ptr;

use windows_sys::Win32::System::Memory::{PrefetchVirtualMemory, WIN32_MEMORY_RANGE_ENTRY};
use windows_sys::Win32::System::ProcessStatus::{K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::advice::Advice;

/// Passes an advice on for whole pages; only `WillNeed` has an effect here.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's.
pub(crate) unsafe fn advise(start: *mut u8, len: usize, advice: Advice, _shared: bool) -> io::Result<()> {
    if advice != Advice::WillNeed {
        return Ok(());
    }
    let range = WIN32_MEMORY_RANGE_ENTRY { VirtualAddress: start.cast(), NumberOfBytes: len };
    // SAFETY:
    // - a number that stands for this process.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY:
    // - one entry, which is read during the call; the pages are a mapping of the caller's.
    let done = unsafe { PrefetchVirtualMemory(process, 1, &raw const range, 0) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The page cache is not told anything here.
pub(crate) fn forget(_file: &File, _offset: u64, _len: usize) {}

/// Reads pages in; false, because that cannot be asked for here.
///
/// # Safety
/// None is needed: nothing is done.
pub(crate) unsafe fn populate(_start: *mut u8, _len: usize) -> bool {
    false
}

/// How many of some whole pages are in the working set of this process.
///
/// # Safety
/// The pages are `len` bytes of a mapping of the caller's.
pub(crate) unsafe fn resident(start: *mut u8, len: usize) -> io::Result<usize> {
    let page = super::page_size();
    // SAFETY:
    // - a number that stands for this process.
    let process = unsafe { GetCurrentProcess() };
    let mut resident = 0;
    let mut found = vec![PSAPI_WORKING_SET_EX_INFORMATION::default(); (len / page).min(1 << 12)];
    for from in (0..len).step_by(page * found.len().max(1)) {
        let pages = ((len - from) / page).min(found.len());
        for (i, entry) in found.iter_mut().take(pages).enumerate() {
            entry.VirtualAddress = start.wrapping_add(from + i * page).cast();
        }
        let bytes = pages * size_of::<PSAPI_WORKING_SET_EX_INFORMATION>();
        let bytes = u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY:
        // - the entries are `bytes` long; the call fills in what it finds about the address in each, and keeps nothing.
        let done =
            unsafe { K32QueryWorkingSetEx(process, ptr::from_mut(found.as_mut_slice()).cast(), bytes) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        for entry in found.iter().take(pages) {
            // SAFETY:
            // - a union of numbers, filled in by the call; every bit pattern is one.
            let flags = unsafe { entry.VirtualAttributes.Flags };
            resident += flags & 1;
        }
    }
    Ok(resident)
}
