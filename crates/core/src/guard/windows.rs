//! In-page errors on Windows: a vectored exception handler.
//!
//! A mapped file cannot be made shorter here, so what is left is storage that fails: a network disk that went away, a
//! device pulled out. There is no mapping over a mapping either. The handler takes the view down, reserves its
//! addresses, and commits zero pages there as they are touched; [`Mapping::retire`](crate::Mapping::retire) does the
//! same when the file is no longer wanted. Another thread may take the addresses in the moment between the two; then
//! the exception goes on to whoever else handles it.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use windows_sys::Win32::Foundation::{EXCEPTION_ACCESS_VIOLATION, EXCEPTION_IN_PAGE_ERROR, STATUS_DISK_FULL};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS,
};
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::Memory::{MEM_COMMIT, PAGE_READWRITE, VirtualAlloc};

use super::{Loss, NO_FILE, Region, Slot, find};
use crate::sys;

/// A store to a page that may only be read comes as an exception that can be mended.
pub(super) const CAN_MAKE_PRIVATE: bool = true;

/// How often a page is asked for: whoever takes the view down may not have reserved its addresses yet.
const COMMIT_TRIES: usize = 1000;

static ARMED: AtomicBool = AtomicBool::new(false);

/// Puts the handler in place, once: handlers that others add do not replace it.
pub(super) fn arm(_read_only: bool) -> io::Result<()> {
    if ARMED.load(Ordering::Acquire) {
        return Ok(());
    }
    let handler: unsafe extern "system" fn(*mut EXCEPTION_POINTERS) -> i32 = on_exception;
    let mut module = ptr::null_mut();
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    // A worker that loaded the module alone and ended would take the handler's code away.
    // SAFETY:
    // - with FROM_ADDRESS the name is an address inside the module; `module` takes the result.
    let pinned = unsafe { GetModuleHandleExW(flags, (handler as *const ()).cast(), &raw mut module) };
    if pinned == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY:
    // - the handler stays loaded: its module was pinned above.
    if unsafe { AddVectoredExceptionHandler(1, Some(handler)) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    ARMED.store(true, Ordering::Release);
    Ok(())
}

unsafe extern "system" fn on_exception(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY:
    // - the system passes both records, which live for the call.
    let record = unsafe { (*pointers).ExceptionRecord };
    // SAFETY:
    // - as above.
    let record = unsafe { *record };
    let in_page = record.ExceptionCode == EXCEPTION_IN_PAGE_ERROR;
    if !in_page && record.ExceptionCode != EXCEPTION_ACCESS_VIOLATION {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    // Both kinds say what was tried, at which address, and (in-page only) what the storage said.
    let [access, address, status, ..] = record.ExceptionInformation;
    let rescued = find(address).is_some_and(|(slot, region)| {
        if in_page { replace(address, status, slot, region) } else { allow(address, access == 1, region) }
    });
    if rescued { EXCEPTION_CONTINUE_EXECUTION } else { EXCEPTION_CONTINUE_SEARCH }
}

/// Puts reserved addresses in the place of the view, and a zero page where it was touched.
fn replace(address: usize, status: usize, slot: &Slot, region: Region) -> bool {
    let is_full = u32::try_from(status).is_ok_and(|status| status.cast_signed() == STATUS_DISK_FULL);
    slot.lose(if is_full { Loss::NoSpace } else { Loss::Io });
    if slot.take_file() {
        let start = ptr::with_exposed_provenance_mut(region.start);
        // SAFETY:
        // - the region starts where a view of ours does (`place` of mapping.rs); nobody has a reference to it (fact 3
        //   of `Mapping`), and only the one who has taken its file gets here.
        if unsafe { sys::reserve_view(start, region.len) }.is_err() {
            return false;
        }
    }
    commit(address)
}

/// Makes a page usable that may not be touched yet.
fn allow(address: usize, is_store: bool, region: Region) -> bool {
    if region.file == NO_FILE {
        return commit(address);
    }
    if !(region.read_only && is_store) {
        return false;
    }
    // SAFETY:
    // - a page of a view of ours, registered as one that the guard makes writable.
    unsafe { sys::make_private(ptr::with_exposed_provenance(address)) }.is_ok()
}

/// A zero page at `address`, in addresses that are reserved; elsewhere the system refuses.
fn commit(address: usize) -> bool {
    let page = sys::page_size();
    let start = ptr::with_exposed_provenance(address & !(page - 1));
    (0..COMMIT_TRIES).any(|_| {
        // SAFETY:
        // - commits within a reservation; anything else there makes it fail.
        let done = !unsafe { VirtualAlloc(start, page, MEM_COMMIT, PAGE_READWRITE) }.is_null();
        if !done {
            std::thread::yield_now();
        }
        done
    })
}
