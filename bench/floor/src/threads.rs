//! Chunks on one thread or several: workers take the next one from a shared counter.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Lets `threads` workers go through `0..len` in chunks of `step`; gives what each made of its chunks, `start` being what
/// each begins with.
pub(crate) fn share<R: Send>(
    len: usize,
    step: usize,
    threads: usize,
    start: impl Fn() -> R + Sync,
    work: impl Fn(&mut R, Range<usize>) + Sync,
) -> Vec<R> {
    let counter = AtomicUsize::new(0);
    let worker = || {
        let mut made = start();
        loop {
            let from = counter.fetch_add(1, Ordering::Relaxed) * step;
            if from >= len {
                return made;
            }
            work(&mut made, from..len.min(from + step));
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = vec![worker()];
        all.extend(others.into_iter().filter_map(|other| other.join().ok()));
        all
    })
}
