//! SIGBUS on Linux, macOS and the BSDs.
//!
//! The handler calls only what POSIX allows there and plain system calls (`fstat`, `fstatfs`, `mmap`, `mprotect`), and keeps
//! `errno`. It leaves everything that is not a fault in a page of ours to the handler that was there before: V8 turns
//! traps of WebAssembly into exceptions that way, and crash reporters write their reports.
//!
//! SIGSEGV is handled only once a mapping exists whose pages may not be stored to (see `mapping.rs`): a store there makes
//! the page private and goes on. macOS raises SIGBUS for both.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::{Loss, NO_FILE, Region, Slot, find};
use crate::sys::{self, Zeros};

/// What handled each signal before us; null before we do.
struct Previous {
    bus: AtomicPtr<libc::sigaction>,
    segv: AtomicPtr<libc::sigaction>,
}

static PREVIOUS: Previous =
    Previous { bus: AtomicPtr::new(ptr::null_mut()), segv: AtomicPtr::new(ptr::null_mut()) };

/// The thread that is inside a previous handler; 0 for none.
static CHAINING: AtomicUsize = AtomicUsize::new(0);

impl Previous {
    fn of(&self, signal: c_int) -> &AtomicPtr<libc::sigaction> {
        if signal == libc::SIGBUS { &self.bus } else { &self.segv }
    }
}

/// A store to a page that may only be read comes as a fault that can be mended.
pub(super) const CAN_MAKE_PRIVATE: bool = true;

/// Puts the handler in place where it is not, or is no longer: others may have replaced it since the last mapping.
pub(super) fn arm(read_only: bool) -> io::Result<()> {
    handle(libc::SIGBUS)?;
    if read_only { handle(libc::SIGSEGV) } else { Ok(()) }
}

fn handle(signal: c_int) -> io::Result<()> {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    let ours = handler as libc::sighandler_t;
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY:
    // - with a null action nothing is changed; `current` has room for the action that is in place.
    check(unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) })?;
    // SAFETY:
    // - the call has filled it in, and all zeros would be a value as well.
    let current = unsafe { current.assume_init() };
    if current.sa_sigaction == ours {
        return Ok(());
    }
    pin_module(ours);
    // Read by the handler at any time from here on, so it is never freed; there is one for each time that somebody
    // else has installed a handler.
    PREVIOUS.of(signal).store(Box::into_raw(Box::new(current)), Ordering::Release);
    let mut action = current;
    action.sa_sigaction = ours;
    // On the thread's own signal stack where it has one: the fault may come deep in a stack of JavaScript.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY:
    // - `sa_mask` is a set of this action, emptied in place.
    check(unsafe { libc::sigemptyset(&raw mut action.sa_mask) })?;
    // SAFETY:
    // - `action` is whole: a handler of the three-argument kind, as SA_SIGINFO says, that stays loaded.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = errno_location();
    // SAFETY:
    // - the calling thread's own errno, which lives as long as the thread.
    let saved = unsafe { *errno };
    // SAFETY:
    // - SA_SIGINFO: the system passes a siginfo that lives for the call.
    let what = unsafe { *info };
    // Sent by somebody (`kill`) otherwise: 0 or less on Linux, large numbers elsewhere.
    let is_fault = (1..0x80).contains(&what.si_code);
    // SAFETY:
    // - for a fault the field is the address that was touched; for anything else it is a number that is not used.
    let address = unsafe { what.si_addr() }.addr();
    if !(is_fault && find(address).is_some_and(|(slot, region)| rescue(signal, address, slot, region))) {
        pass_on(signal, is_fault, info, context);
    }
    // SAFETY:
    // - as above.
    unsafe { *errno = saved };
}

/// Makes the touched page usable. False if it cannot be.
fn rescue(signal: c_int, address: usize, slot: &Slot, region: Region) -> bool {
    let Region { start, len, file, offset, shared, read_only } = region;
    let read_only = read_only || file == NO_FILE;
    let page = sys::page_size();
    let touched = address & !(page - 1);
    let end = start + len;
    let status = Status::of(file);
    // No answer is no reason to take more than one page away.
    let held = status.as_ref().map_or(u64::MAX, |status| status.size.saturating_sub(offset));
    let held = usize::try_from(held).unwrap_or(usize::MAX).min(len).next_multiple_of(page);
    let end_of_file = start + held;
    let is_store = signal == libc::SIGSEGV || (cfg!(target_vendor = "apple") && touched < end_of_file);
    if read_only && is_store {
        return make_private(touched, page);
    }
    if signal != libc::SIGBUS {
        return false;
    }
    // What is kept for growth has no file yet. The zeros hide it when it has: whoever makes the file longer puts it back.
    let live = (start + slot.live.load(Ordering::Acquire)).next_multiple_of(page);
    if touched >= end_of_file && touched >= live {
        let from = end_of_file.max(live);
        let done = zero(from, end - from, read_only) || zero(touched, page, read_only);
        slot.strayed.store(true, Ordering::Release);
        return done;
    }
    if touched >= end_of_file {
        // Before the pages are replaced: whoever sees zeros can learn that they are not the file's.
        slot.lose(Loss::Truncated);
        return zero(end_of_file, end - end_of_file, read_only) || zero(touched, page, read_only);
    }
    slot.lose(match status {
        // Only stores and holes ask for space; of a hole that is only read, file systems in memory do.
        Some(status)
            if if shared { status.is_sparse || is_full(file) } else { status.is_sparse && is_full(file) } =>
        {
            Loss::NoSpace
        }
        _ => Loss::Io,
    });
    zero(touched, page, read_only)
}

struct Status {
    size: u64,
    /// Whether there are fewer blocks than bytes: holes.
    is_sparse: bool,
}

impl Status {
    fn of(file: isize) -> Option<Self> {
        if file == NO_FILE {
            return None;
        }
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY:
        // - `status` has room for the answer; a descriptor that is closed meanwhile is an error, not a fault.
        let failed = unsafe { libc::fstat(c_int::try_from(file).ok()?, status.as_mut_ptr()) };
        if failed != 0 {
            return None;
        }
        // SAFETY:
        // - the call has filled it in, and all zeros would be a value as well.
        let status = unsafe { status.assume_init() };
        let size = u64::try_from(status.st_size).ok()?;
        let blocks = u64::try_from(status.st_blocks).ok()?;
        Some(Self { size, is_sparse: blocks.saturating_mul(512) < size })
    }
}

/// Whether the file system has no room left; those that do not know their size (FUSE, network disks) say 0 of all.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn is_full(file: isize) -> bool {
    let Ok(file) = c_int::try_from(file) else {
        return false;
    };
    let mut status = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY:
    // - `status` has room for the answer; a descriptor that is closed meanwhile is an error, not a fault.
    let failed = unsafe { libc::fstatfs(file, status.as_mut_ptr()) };
    // SAFETY:
    // - filled in by the call, or still zeros, which is a value as well.
    let status = unsafe { status.assume_init() };
    failed == 0 && status.f_blocks > 0 && status.f_bavail == 0
}

/// Not asked here.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn is_full(_file: isize) -> bool {
    false
}

/// Puts zero pages over `len` bytes of a mapping of ours; where its pages may only be read, so may these.
fn zero(start: usize, len: usize, read_only: bool) -> bool {
    let zeros = if read_only { Zeros::ReadOnly } else { Zeros::Writable };
    // SAFETY:
    // - the range is whole pages of a registered mapping, which is owned by whoever touched it (a registration ends
    //   before its addresses are given back) and to which nobody has a reference (fact 3 of `Mapping`).
    unsafe { sys::replace_with_zeros(ptr::with_exposed_provenance_mut(start), len, zeros) }.is_ok()
}

/// Lets a page that was mapped to be read only be stored to: private, so the store stays in this process.
fn make_private(page_start: usize, page: usize) -> bool {
    let start = ptr::with_exposed_provenance_mut::<c_void>(page_start);
    // SAFETY:
    // - the page is one of a private mapping of ours, registered as one that the guard makes writable.
    unsafe { libc::mprotect(start, page, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// Hands a signal that is not ours to whoever handled it before.
fn pass_on(signal: c_int, is_fault: bool, info: *mut libc::siginfo_t, context: *mut c_void) {
    // What no two threads share.
    let thread = errno_location().addr();
    // SAFETY:
    // - null, or an action that was leaked on purpose when the handler was installed.
    let previous = unsafe { PREVIOUS.of(signal).load(Ordering::Acquire).as_ref() };
    // A handler that was installed after us and calls us in turn would go round for ever.
    let is_circle = CHAINING.load(Ordering::Relaxed) == thread;
    let action = previous.filter(|_| !is_circle).map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    match (action, previous) {
        // A fault that is ignored would come again at once; the system does not ignore it either.
        (libc::SIG_IGN, _) if !is_fault => {}
        (libc::SIG_DFL | libc::SIG_IGN, _) | (_, None) => end_by(signal, is_fault),
        (handler, Some(previous)) => {
            CHAINING.store(thread, Ordering::Relaxed);
            if previous.sa_flags & libc::SA_SIGINFO == 0 {
                // SAFETY:
                // - without SA_SIGINFO the action is a function of this type, put there by whoever installed it.
                let call = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
                call(signal);
            } else {
                // SAFETY:
                // - with SA_SIGINFO the action is a function of this type, put there by whoever installed it.
                let call = unsafe {
                    std::mem::transmute::<usize, extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)>(
                        handler,
                    )
                };
                call(signal, info, context);
            }
            CHAINING.store(0, Ordering::Relaxed);
        }
    }
}

/// Lets the signal do what it does to a process that does not handle it.
fn end_by(signal: c_int, is_fault: bool) {
    // SAFETY:
    // - all zeros is the action SIG_DFL with no flags and an empty mask.
    let action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    // SAFETY:
    // - `action` is whole.
    let failed = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    // A fault comes again when the handler returns, with its own address for whoever looks at the core file.
    if !is_fault || failed != 0 {
        // SAFETY:
        // - sends a signal to this thread; it is held back until the handler returns.
        let _ = unsafe { libc::raise(signal) };
    }
}

/// Where the calling thread keeps its errno.
fn errno_location() -> *mut c_int {
    #[cfg(any(target_os = "solaris", target_os = "illumos"))]
    use libc::___errno as location;
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    use libc::__errno as location;
    #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "hurd"))]
    use libc::__errno_location as location;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    use libc::__error as location;
    // SAFETY:
    // - gives an address, valid for as long as the thread lives.
    unsafe { location() }
}

/// Keeps the module that has `address` loaded until the process ends: a worker that loaded it alone and ended would take
/// the handler's code away.
fn pin_module(address: usize) {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY:
    // - only looks the address up; `info` has room for the answer.
    let found = unsafe { libc::dladdr(ptr::with_exposed_provenance(address), info.as_mut_ptr()) };
    // SAFETY:
    // - filled in by the call, or still zeros, which is a value as well.
    let name = unsafe { info.assume_init() }.dli_fname;
    if found != 0 && !name.is_null() {
        // The handle is not closed, and with RTLD_NODELETE closing others has no effect. A program that is not a
        // library is refused, and never unloaded either.
        // SAFETY:
        // - `name` is a string of the loader's, which lives as long as the module, and RTLD_NOLOAD runs no code of it.
        let _ = unsafe { libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
    }
}
