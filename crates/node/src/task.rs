//! Promises settled by threads of our own.
//!
//! Not libuv's pool: it has four threads for everything in the process, and four long tasks there hold up every
//! `fs.stat` for as long as they take. Ours are started when there is work, at most one for each core in each of two
//! pools, so that opening and flushing do not wait for sums over whole arrays either.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use mmap_ndarray_core::Result as CoreResult;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, Result};

use crate::error::js_error;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Threads that take work in turn.
pub(crate) struct Pool {
    queue: Mutex<Queue>,
    ready: Condvar,
}

/// For work with files: as long as the disk takes.
pub(crate) static FILES: Pool = Pool::new();

/// For work with all elements of an array: as long as the processor takes.
pub(crate) static KERNELS: Pool = Pool::new();

/// A promise of what `work` gives on a thread of `pool`, made into JavaScript by `finish` on the thread of `env`.
///
/// Rejects with the error of either, or with the message of a panic in `work`.
pub(crate) fn promise<'env, T, R>(
    env: &'env Env,
    pool: &'static Pool,
    work: impl FnOnce() -> CoreResult<T> + Send + 'static,
    finish: impl FnOnce(&Env, T) -> Result<R> + Send + 'static,
) -> Result<Object<'env>>
where
    T: Send + 'static,
    R: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred::<R, Box<dyn FnOnce(Env) -> Result<R> + Send>>()?;
    pool.run(Box::new(move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        deferred.resolve(Box::new(move |env| match done {
            Ok(Ok(value)) => finish(&env, value),
            Ok(Err(error)) => Err(js_error(&env, error)),
            Err(panic) => Err(Error::from_reason(panic_text(&*panic))),
        }));
    }));
    Ok(promise)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("mmap-ndarray: panic in native code: {}; please report this", text.unwrap_or("no message"))
}

impl Pool {
    const fn new() -> Self {
        let queue = Queue { jobs: VecDeque::new(), threads: 0, idle: 0 };
        Self { queue: Mutex::new(queue), ready: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing runs while the lock is held that could leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&'static self, job: Job) {
        static MOST: OnceLock<usize> = OnceLock::new();
        let most = *MOST.get_or_init(|| thread::available_parallelism().map_or(1, usize::from));
        let mut queue = self.lock();
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < most {
            let started = thread::Builder::new().name("mmap-ndarray".to_owned()).spawn(move || self.serve());
            if started.is_ok() {
                queue.threads += 1;
            } else if queue.threads == 0 {
                // No thread is to be had: do the work here, late rather than never.
                let jobs = std::mem::take(&mut queue.jobs);
                drop(queue);
                for job in jobs {
                    job();
                }
                return;
            }
        }
        drop(queue);
        self.ready.notify_one();
    }

    fn serve(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.lock();
            } else {
                queue.idle += 1;
                queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}
