//! Faults on demand, for the tests of what has to survive them.
//!
//! Every call to the system on a file's way to its name passes a point first, where a test can make that call fail, or
//! hold the process until it is killed. Only the feature `fault-injection` has a test listen there, and only the crate's
//! own tests turn it on. Without it a point is an empty function, and nothing of this module is in the library.

use std::io;

#[cfg(feature = "fault-injection")]
pub use armed::{Hook, listen};

#[cfg(feature = "fault-injection")]
pub(crate) use armed::point;

/// Comes before the system call named `_call`.
#[cfg(not(feature = "fault-injection"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature of the point that can fail")]
#[inline]
pub(crate) fn point(_call: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
mod armed {
    use super::io;
    use std::cell::RefCell;

    /// What a test does where a system call is about to be made: its name is given, and an error takes its place.
    pub type Hook = Box<dyn FnMut(&'static str) -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Has `hook` called at every point that this thread passes from now on, until the next `listen`; `None` ends it.
    pub fn listen(hook: Option<Hook>) {
        HOOK.set(hook);
    }

    /// Comes before the system call named `call`.
    pub(crate) fn point(call: &'static str) -> io::Result<()> {
        HOOK.with_borrow_mut(|hook| hook.as_mut().map_or(Ok(()), |hook| hook(call)))
    }
}
