//! Promises settled by threads of our own.
//!
//! Not libuv's pool: it has four threads for everything in the process, and four long tasks there hold up every
//! `fs.stat` for as long as they take. Ours are started when there is work, at most one for each core in each of two
//! pools, so that opening and flushing do not wait for sums over whole arrays either.
//!
//! An environment that ends stops the work it has asked for. Where memory of its own may be in use it waits for the end
//! of that, because nothing is left of the memory afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;

use mmap_ndarray_core::Result as CoreResult;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, Result};

use crate::error::js_error;
use crate::reduce::State;

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
    let running = Running::new(env)?;
    pool.run(Box::new(move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        deferred.resolve(Box::new(move |env| match done {
            Ok(Ok(value)) => finish(&env, value),
            Ok(Err(error)) => Err(js_error(&env, error)),
            Err(panic) => Err(Error::from_reason(panic_text(&*panic))),
        }));
        drop(running);
    }));
    Ok(promise)
}

/// The work of one environment.
#[derive(Default)]
struct Environment {
    /// How much is under way.
    running: usize,
    /// Whether it may use memory that goes with the environment.
    waits: bool,
    /// What can be stopped.
    jobs: Vec<Weak<State>>,
}

/// By address.
static ENVIRONMENTS: Mutex<BTreeMap<usize, Environment>> = Mutex::new(BTreeMap::new());
static LESS_IS_RUNNING: Condvar = Condvar::new();

fn environments() -> MutexGuard<'static, BTreeMap<usize, Environment>> {
    // Nothing runs while the lock is held that could leave the map half changed.
    ENVIRONMENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes something of an environment, which is known from here on until it ends.
fn note<R>(env: &Env, change: impl FnOnce(&mut Environment) -> R) -> Result<R> {
    let key = env.raw().addr();
    let mut environments = environments();
    if !environments.contains_key(&key) {
        // Takes no lock and runs no JavaScript: it adds to a list of the runtime's.
        env.add_env_cleanup_hook(key, end)?;
    }
    Ok(change(environments.entry(key).or_default()))
}

/// Lets the environment not end before work has that may use its memory.
pub(crate) fn wait_at_end(env: &Env) -> Result<()> {
    note(env, |environment| environment.waits = true)
}

/// Stops this work, if it is still there, when the environment ends.
pub(crate) fn stop_at_end(env: &Env, job: &Arc<State>) -> Result<()> {
    note(env, |environment| {
        let jobs = &mut environment.jobs;
        // Only where the list would grow: as many were added since as are looked at.
        if jobs.len() == jobs.capacity() {
            jobs.retain(|job| job.strong_count() > 0);
            jobs.reserve(jobs.len().max(16));
        }
        jobs.push(Arc::downgrade(job));
    })
}

/// Runs on the thread of an environment that ends, while its memory is there still.
fn end(key: usize) {
    let mut environments = environments();
    while let Some(environment) = environments.get_mut(&key) {
        environment.jobs.drain(..).filter_map(|job| job.upgrade()).for_each(|job| job.cancel());
        if environment.running == 0 || !environment.waits {
            environments.remove(&key);
            return;
        }
        environments = LESS_IS_RUNNING.wait(environments).unwrap_or_else(PoisonError::into_inner);
    }
}

/// One piece of work under way.
struct Running(usize);

impl Running {
    fn new(env: &Env) -> Result<Self> {
        note(env, |environment| environment.running += 1).map(|()| Self(env.raw().addr()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(environment) = environments().get_mut(&self.0) {
            environment.running = environment.running.saturating_sub(1);
        }
        LESS_IS_RUNNING.notify_all();
    }
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
