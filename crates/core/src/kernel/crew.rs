//! Chunks of work on one thread or several.
//!
//! Workers take chunks from a shared counter: with the other core busy, halves given out beforehand lost to one thread,
//! and chunks of a megabyte did not. Starting a thread costs some 35 µs, a mebibyte about as much, and so one thread is
//! enough for a few MiB; a pool (rayon) would save 20 µs of hundreds and bring five crates.

use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::reduce::Control;

/// Bytes of a chunk, about: a few tens of microseconds.
pub(super) const CHUNK: usize = 1 << 20;

/// Below this many bytes one thread does it all.
const LARGE: usize = 8 << 20;

/// Cores that this process may use. Asking takes 30 µs where cgroups have to be read, which is what a small reduction takes.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// The most workers for each core: more than that only take turns, and each costs a stack.
const MOST_PER_CORE: usize = 4;

/// What stops the workers.
pub(super) struct Halt<'a> {
    control: Control<'a>,
    stopped: AtomicBool,
}

impl<'a> Halt<'a> {
    pub(super) fn new(control: Control<'a>) -> Self {
        Self { control, stopped: AtomicBool::new(false) }
    }

    pub(super) fn is_on(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.control.is_cancelled()
    }

    /// Stops the workers, because what is known is enough.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Tells those who follow the work of `elements` more that are done with.
    pub(super) fn add(&self, elements: usize) {
        self.control.add(elements);
    }
}

/// Lets workers, at most as many as `threads` says, do `chunks` of work; gives what each of them gives.
///
/// A worker asks for chunks until there are no more of them, or `halt` is on. Without `threads` there are as many workers
/// as cores for large work, and one for small; whatever it says, there are at most four for each core.
pub(super) fn share<R: Send>(
    chunks: usize,
    threads: Option<usize>,
    halt: &Halt,
    work: impl Fn(&dyn Fn() -> Option<usize>) -> R + Sync,
) -> Vec<R> {
    let counter = AtomicUsize::new(0);
    let next = || {
        let chunk = if halt.is_on() { chunks } else { counter.fetch_add(1, Ordering::Relaxed) };
        (chunk < chunks).then_some(chunk)
    };
    let is_large = chunks.saturating_mul(CHUNK) >= LARGE;
    crowd(workers(threads, is_large).min(chunks), || work(&next))
}

/// How many workers there are to be: as many as `threads` says, up to four for each core; without it one for each core
/// if the work is large, else one.
pub(crate) fn workers(threads: Option<usize>, is_large: bool) -> usize {
    match threads {
        Some(threads) if threads > 1 => threads.min(CORES.saturating_mul(MOST_PER_CORE)),
        None if is_large => *CORES,
        Some(_) | None => 1,
    }
}

/// Does `work` on so many threads at once, the caller's among them; gives what each of them gives.
pub(crate) fn crowd<R: Send>(threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        // One thread less is no reason to fail.
        let others: Vec<_> =
            (1..threads).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut given = vec![work()];
        for other in others {
            given.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        given
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_threads_starts_one_for_each_chunk() {
        let cores = *CORES;
        let chunks = 1000 * cores;
        for threads in [1, 3, 4 * cores, usize::MAX >> 11, usize::MAX] {
            let halt = Halt::new(Control::default());
            let done = share(chunks, Some(threads), &halt, |next| {
                let mut done = 0;
                while next().is_some() {
                    done += 1;
                }
                done
            });
            assert_eq!(done.len(), threads.min(4 * cores), "workers for {threads} threads");
            assert_eq!(done.into_iter().sum::<usize>(), chunks, "chunks done by {threads} threads");
        }
    }
}
