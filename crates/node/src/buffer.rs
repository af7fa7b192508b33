//! Memory between JavaScript and Rust: the only unsafe code of this crate.
//!
//! Mapped memory goes out as an external `ArrayBuffer`, made by calling Node-API directly. napi-rs's own
//! constructors copy everything without a word where the runtime forbids external memory (Electron); here a refusal
//! is an error that says so.
//!
//! `close` detaches the buffer and ends this environment's [`Lease`]. With the last lease the mapping is retired: zero pages
//! take the place of the file's, and the file is closed. The addresses stay taken until the last who may hold a pointer
//! to them is gone, which the owners of leases, ended or not, are. Two kinds
//! of holders outlive `close`: a buffer that JavaScript has moved elsewhere (`transfer`), and an operation of Node.js
//! that still works on the buffer on another thread (`fs.read`, zlib). The latter keeps the `ArrayBuffer` object alive,
//! so the object has a finalizer of its own beside that of its memory. Were the addresses given back at once, a read
//! under way could end up in the next file that is mapped there.
//!
//! When an environment ends, its finalizers run although a buffer that it has given away may live on elsewhere. Then the
//! addresses are never given back.
//!
//! An array that no one buffer can hold is seen through windows: buffers over parts of the mapping, each with the same life as
//! the buffer of a whole one, but that it may be detached earlier to make room for another.
//!
//! A runtime that refuses external memory gets the file mapped over memory of its own, that of a WebAssembly.Memory which
//! TypeScript makes, keeps and detaches ([`overlay`]). V8 unmaps it when it is collected, whatever is mapped there, and may have
//! done so before a finalizer runs: that finalizer ends nothing but the bookkeeping.
//!
//! A `SharedArrayBuffer` cannot be detached, and lives on in every environment that it was posted to. It owns the lease
//! until the last of them has let go of it, which may be on any thread.
//!
//! Past 400 lines: all unsafe code of this crate is here, with the facts that it rests on.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, OnceLock};

use mmap_ndarray_core::kernel::RawView;
use mmap_ndarray_core::{
    DType, DynMmapArray, Error as CoreError, Growth, Layout, Lease, Result as CoreResult,
};
use napi::bindgen_prelude::{FromNapiValue, JsValue};
use napi::{Env, Error, Result, Status, Unknown, sys};

use crate::convert::NativeLayout;

/// The buffers of an array in this environment, each made when first asked for, by the byte of the array where it starts:
/// one over all of it, or windows.
#[derive(Default)]
pub(crate) struct Buffer(BTreeMap<usize, Made>);

struct Made {
    /// Weak: the buffer belongs to JavaScript.
    reference: Reference,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An `ArrayBuffer` over the mapping.
    External,
    /// A `SharedArrayBuffer` over the mapping, which nobody can take back.
    Shared,
    /// The `ArrayBuffer` of a WebAssembly.Memory that the file is mapped over, which its maker takes back.
    Lent,
}

/// A weak reference of the environment, deleted when dropped.
struct Reference {
    env: sys::napi_env,
    raw: sys::napi_ref,
}

// SAFETY:
// - napi-rs asks for Send because values may be made on a thread; a `Reference` is only ever made by `weak`,
//   on the thread of its environment, and is used and dropped there (methods and finalizers of a class run there).
unsafe impl Send for Reference {}

impl Buffer {
    /// The array's bytes as an `ArrayBuffer`, or as a shared one: the same object for as long as JavaScript holds it.
    pub(crate) fn get<'env>(
        &mut self,
        env: &'env Env,
        array: &DynMmapArray,
        lease: &Arc<Lease>,
        shared: bool,
    ) -> CoreResult<Unknown<'env>> {
        if !shared {
            return self.make(env, array, lease, 0..span(env, array), Kind::External);
        }
        let value = self.make(env, array, lease, 0..array.mapping().len(), Kind::Shared)?;
        // Workers may have it by a message, without a lease.
        array.mapping().share();
        Ok(value)
    }

    /// The array's bytes from `start` on as an `ArrayBuffer` of `len` bytes, or as many as are mapped: the same object for as long as
    /// JavaScript holds it, until `drop_window`.
    pub(crate) fn window<'env>(
        &mut self,
        env: &'env Env,
        array: &DynMmapArray,
        lease: &Arc<Lease>,
        start: usize,
        len: usize,
    ) -> CoreResult<Unknown<'env>> {
        let end = start.saturating_add(len).min(array.mapping().len());
        if start >= end {
            let reason = format!("a window of {len} bytes from byte {start} on; {end} are mapped");
            return Err(CoreError::OutOfRange { reason });
        }
        self.make(env, array, lease, start..end, Kind::External)
    }

    fn make<'env>(
        &mut self,
        env: &'env Env,
        array: &DynMmapArray,
        lease: &Arc<Lease>,
        range: Range<usize>,
        kind: Kind,
    ) -> CoreResult<Unknown<'env>> {
        let found = self.0.get(&range.start).and_then(|made| made.reference.value());
        let value = if let Some(value) = found {
            value
        } else {
            let start = range.start;
            let value = match kind {
                Kind::Shared => shared_buffer(env, array, lease),
                _ => external_buffer(env, array, lease, range),
            }?;
            self.0.insert(start, Made { reference: weak(env, array, value)?, kind });
            value
        };
        // SAFETY:
        // - the value is one of this environment, just made, or just read from a reference of it.
        unsafe { Unknown::from_napi_value(env.raw(), value) }.map_err(|error| refused(array, &error.reason))
    }

    /// Detaches the window that starts at a byte, if there is one: what shows it has length 0.
    pub(crate) fn drop_window(&mut self, env: &Env, start: usize) -> Result<()> {
        self.0.remove(&start).map_or(Ok(()), |made| made.close(env))
    }

    /// Whether memory of its was moved elsewhere, where somebody may store to it.
    pub(crate) fn is_moved(&self, env: &Env) -> bool {
        self.0.values().any(|made| {
            made.kind == Kind::External
                && made.reference.value().is_some_and(|value| is_detached(env, value).unwrap_or(true))
        })
    }

    /// Whether it is that of a WebAssembly.Memory.
    pub(crate) fn is_lent(&self) -> bool {
        self.0.values().any(|made| made.kind == Kind::Lent)
    }

    /// Whether JavaScript still holds a buffer.
    pub(crate) fn is_there(&self) -> bool {
        self.0.values().any(|made| made.reference.value().is_some())
    }

    /// Detaches every buffer, so that views of it have length 0.
    pub(crate) fn close(self, env: &Env) -> Result<()> {
        self.0.into_values().map(|made| made.close(env)).fold(Ok(()), Result::and)
    }
}

impl Made {
    /// Detaches the buffer; a shared one cannot be, one that is lent has been.
    fn close(self, env: &Env) -> Result<()> {
        match self.kind {
            Kind::External => self.reference.value().map_or(Ok(()), |value| detach(env, value)),
            Kind::Shared | Kind::Lent => Ok(()),
        }
    }
}

/// Detaches an `ArrayBuffer`, unless its owner has moved its memory elsewhere already.
fn detach(env: &Env, value: sys::napi_value) -> Result<()> {
    if is_detached(env, value)? {
        return Ok(());
    }
    // SAFETY:
    // - `value` is an ArrayBuffer of this environment that is not detached.
    let status = unsafe { sys::napi_detach_arraybuffer(env.raw(), value) };
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    Err(Error::new(Status::from(status), "napi_detach_arraybuffer"))
}

fn is_detached(env: &Env, value: sys::napi_value) -> Result<bool> {
    let mut detached = false;
    // SAFETY:
    // - `value` is a value of this environment; `detached` takes the result.
    let status = unsafe { sys::napi_is_detached_arraybuffer(env.raw(), value, &raw mut detached) };
    if status == sys::Status::napi_ok {
        return Ok(detached);
    }
    Err(Error::new(Status::from(status), "napi_is_detached_arraybuffer"))
}

impl Reference {
    fn value(&self) -> Option<sys::napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY:
        // - `raw` is a live reference of `env`: made in `weak`, deleted only in `drop`.
        let status = unsafe { sys::napi_get_reference_value(self.env, self.raw, &raw mut value) };
        (status == sys::Status::napi_ok && !value.is_null()).then_some(value)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY:
        // - a live reference of `env`, deleted here and nowhere else; Node-API allows it in a finalizer.
        let status = unsafe { sys::napi_delete_reference(self.env, self.raw) };
        debug_assert_eq!(status, sys::Status::napi_ok);
    }
}

/// Makes an `ArrayBuffer` over a range of the mapping, or says why the runtime will not have it. With `MMAP_NDARRAY_CAGE=on` in the
/// environment none does: so tests see what happens in Electron.
fn external_buffer(
    env: &Env,
    array: &DynMmapArray,
    lease: &Arc<Lease>,
    range: Range<usize>,
) -> CoreResult<sys::napi_value> {
    if std::env::var_os("MMAP_NDARRAY_CAGE").is_some_and(|value| value == "on") {
        return Err(refused(array, CAGED));
    }
    if array.is_copied() {
        return Err(refused(array, COPIED));
    }
    let mapping = array.mapping();
    let len = range.len();
    let hint = owner(lease);
    let mut value = ptr::null_mut();
    // SAFETY:
    // - `range` lies in the mapping, whose bytes stay mapped, readable and writable, while `hint` owns the lease, and with
    //   it the mapping.
    // - `hint` is an owner of its own; `finalize` takes it back, once.
    // - a page that the file loses is replaced by the core's guard; not protected: the guard disabled (SIGBUS).
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env.raw(),
            mapping.as_ptr().wrapping_add(range.start).cast(),
            len,
            Some(finalize),
            hint,
            &raw mut value,
        )
    };
    if status == sys::Status::napi_ok {
        let hint = owner(lease);
        // SAFETY:
        // - `value` is an object of this environment; `hint` is an owner of its own, which `finalize` takes back, once.
        let status =
            unsafe { sys::napi_add_finalizer(env.raw(), value, hint, Some(finalize), hint, ptr::null_mut()) };
        if status != sys::Status::napi_ok {
            release(hint);
            return Err(refused(array, &format!("napi_add_finalizer: {}", Status::from(status))));
        }
        return Ok(value);
    }
    clear_exception(env);
    if status == sys::Status::napi_no_external_buffers_allowed {
        // A runtime that refuses before it looks at the buffer has not kept the hint.
        release(hint);
        return Err(refused(array, CAGED));
    }
    // Node.js 20 runs the finalizer of a buffer that it found too large, on a later turn of the event loop; `hint` is
    // left to it.
    Err(CoreError::TooLarge {
        path: array.file_path().to_path_buf(),
        reason: format!(
            "one ArrayBuffer of this runtime does not take {} bytes (it takes 4 GiB in Node.js 20; Node-API says {}). \
             Open the array with backing 'auto' or 'window', or use Node.js 22 or later",
            len,
            Status::from(status)
        ),
    })
}

/// Maps the array anew over the memory behind an `ArrayBuffer`: that of a WebAssembly.Memory which the caller keeps until
/// the array is closed and work under way has ended.
pub(crate) fn overlay(
    env: &Env,
    array: &DynMmapArray,
    value: &Unknown,
) -> CoreResult<(DynMmapArray, Arc<Lease>, Buffer)> {
    /// What pages of WebAssembly are multiples of.
    const PAGE: usize = 1 << 16;
    let (mut first, mut len) = (ptr::null_mut(), 0);
    // SAFETY:
    // - a value that is no ArrayBuffer is a status, not a fault.
    let status =
        unsafe { sys::napi_get_arraybuffer_info(env.raw(), value.raw(), &raw mut first, &raw mut len) };
    let pages: *mut u8 = first.cast();
    let whole = len.is_multiple_of(PAGE) && pages.addr().is_multiple_of(PAGE);
    if status != sys::Status::napi_ok || !whole {
        return Err(refused(array, "expected the buffer of a WebAssembly.Memory"));
    }
    // SAFETY:
    // - `len` bytes from `pages` on, enough for the array and whole pages, are memory of V8's that has been in no use yet.
    // - they are there while `src/wasm.ts` keeps the WebAssembly.Memory: for as long as the NativeArray that owns the
    //   result is there, and for work under way after its `close`. An environment that ends waits for that (`task.rs`).
    // - the lease is ended by `NativeArray::close`, while the memory is kept. In every other case it is dropped.
    let array = unsafe { array.over(pages, len) }?;
    let lease = Arc::new(array.lease()?);
    let hint = owner(&lease);
    // SAFETY:
    // - `value` is an object of this environment; `hint` is an owner of its own, which `finalize_lent` takes back, once.
    let status = unsafe {
        sys::napi_add_finalizer(env.raw(), value.raw(), hint, Some(finalize_lent), hint, ptr::null_mut())
    };
    if status != sys::Status::napi_ok {
        release(hint);
        return Err(refused(&array, &format!("napi_add_finalizer: {}", Status::from(status))));
    }
    let reference = weak(env, &array, value.raw())?;
    Ok((array, lease, Buffer([(0, Made { reference, kind: Kind::Lent })].into())))
}

/// A reference that keeps nothing alive.
fn weak(env: &Env, array: &DynMmapArray, value: sys::napi_value) -> CoreResult<Reference> {
    let mut raw = ptr::null_mut();
    // SAFETY:
    // - `value` is an object of this environment; the count 0 makes the reference weak; `raw` takes the result.
    let status = unsafe { sys::napi_create_reference(env.raw(), value, 0, &raw mut raw) };
    if status == sys::Status::napi_ok {
        return Ok(Reference { env: env.raw(), raw });
    }
    Err(refused(array, &format!("napi_create_reference: {}", Status::from(status))))
}

const CAGED: &str = "this runtime allows no external ArrayBuffer (Electron's memory cage), and a copy of the whole file would \
     not be a mapping. Open the array with backing 'auto', or in a plain Node.js process";

const COPIED: &str = "the file is not mapped, because its file system maps none or `mmap` is false, so that no buffer shows its \
     bytes. Open the array with backing 'auto' or 'window', or copy the file to a file system that maps files";

/// Bytes of an `ArrayBuffer` over the mapping: all of it, but where that is more than the runtime takes, and the array
/// itself is not, only what it takes.
fn span(env: &Env, array: &DynMmapArray) -> usize {
    let all = array.mapping().len();
    let old = env.get_node_version().is_ok_and(|version| version.major < 22);
    let most = if old { usize::try_from(1_u64 << 32).unwrap_or(all) } else { all };
    if array.header().data_len() <= most as u64 { all.min(most) } else { all }
}

/// `node_api_create_external_sharedarraybuffer` of `node_api.h`; its finalizer is given the address and the hint.
type CreateShared = unsafe extern "C" fn(
    sys::napi_env,
    *mut c_void,
    usize,
    Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    *mut c_void,
    *mut sys::napi_value,
) -> sys::napi_status;

/// The function, in the runtimes that have it: not all that this addon loads into.
fn create_shared() -> Option<CreateShared> {
    static FOUND: OnceLock<Option<CreateShared>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(unix)]
        let program = libloading::os::unix::Library::this();
        #[cfg(windows)]
        let program = libloading::os::windows::Library::this().ok()?;
        // SAFETY:
        // - the name is that of one function only, whose declaration `CreateShared` is.
        // - the function stays where it is: the program that it is part of is not unloaded.
        unsafe { program.get::<CreateShared>("node_api_create_external_sharedarraybuffer") }
            .ok()
            .map(|found| *found)
    })
}

/// Makes a `SharedArrayBuffer` over the mapping, or says why the runtime will not have it.
fn shared_buffer(env: &Env, array: &DynMmapArray, lease: &Arc<Lease>) -> CoreResult<sys::napi_value> {
    if array.is_copied() {
        return Err(refused(array, COPIED));
    }
    let Some(create) = create_shared() else {
        return Err(refused(
            array,
            "this runtime makes no SharedArrayBuffer over a file. Use Node.js 22.23.3, 24.16, 26.1 or later, or open \
             the array without `shared` and attach to it in each worker",
        ));
    };
    let mapping = array.mapping();
    let hint = owner(lease);
    let mut value = ptr::null_mut();
    // SAFETY:
    // - `len` bytes from `as_ptr` on stay mapped, readable and writable, while `hint` owns the lease, and with it the
    //   mapping.
    // - `hint` is an owner of its own; `finalize_shared` takes it back, once.
    // - not protected: the file made shorter (SIGBUS).
    let status = unsafe {
        create(env.raw(), mapping.as_ptr().cast(), mapping.len(), Some(finalize_shared), hint, &raw mut value)
    };
    match status {
        sys::Status::napi_ok => Ok(value),
        sys::Status::napi_no_external_buffers_allowed => {
            // A runtime that refuses before it looks at the buffer has not kept the hint.
            release(hint);
            Err(refused(array, CAGED))
        }
        // `hint` is left to a runtime that may have kept it.
        status => {
            clear_exception(env);
            let name = "node_api_create_external_sharedarraybuffer";
            Err(refused(array, &format!("{name}: {}", Status::from(status))))
        }
    }
}

/// One more owner of the lease, as a finalizer is given it.
fn owner(lease: &Arc<Lease>) -> *mut c_void {
    Arc::into_raw(Arc::clone(lease)).cast_mut().cast()
}

/// Takes back what `owner` gave.
fn release(hint: *mut c_void) {
    // SAFETY:
    // - `hint` came from `owner`, and each is released once: by the finalizer that it was given to, or by the maker of
    //   the buffer when no finalizer has it.
    drop(unsafe { Arc::from_raw(hint.cast::<Lease>()) });
}

/// Lets go of a lease. Runs on the environment's thread, possibly inside `napi_detach_arraybuffer`.
unsafe extern "C" fn finalize(env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    if is_ending(env) {
        // SAFETY:
        // - `hint` came from `owner` and owns the lease; it is not released, so the reference stays good.
        let lease = unsafe { &*hint.cast::<Lease>() };
        // Somebody elsewhere may have the memory. The file goes with the last lease; where it cannot, it stays mapped.
        drop(lease.end());
        return;
    }
    release(hint);
}

/// Lets go of the lease of memory that is gone, or is to go. The collector may have given it back, so it is not touched.
unsafe extern "C" fn finalize_lent(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    release(hint);
}

/// Lets go of a lease. Runs on any thread, and without an environment.
unsafe extern "C" fn finalize_shared(_data: *mut c_void, hint: *mut c_void) {
    release(hint);
}

/// Whether the environment is past running JavaScript: Node-API then refuses every call that could.
///
/// A cleanup hook would not tell: Node.js 26 finalizes the buffers of a worker before it runs hooks.
fn is_ending(env: sys::napi_env) -> bool {
    let mut value = ptr::null_mut();
    // SAFETY:
    // - `env` is the environment that runs the finalizer; `value` takes the result.
    let found = unsafe { sys::napi_get_undefined(env, &raw mut value) };
    let mut coerced = ptr::null_mut();
    found != sys::Status::napi_ok
        // SAFETY:
        // - `value` is undefined, of this environment; making a truth value of it runs no code of anybody's.
        || unsafe { sys::napi_coerce_to_bool(env, value, &raw mut coerced) } != sys::Status::napi_ok
}

/// Node.js 20 leaves an exception pending where a buffer is too large; ours says more.
fn clear_exception(env: &Env) {
    let mut pending = false;
    // SAFETY:
    // - reads one flag of a live environment.
    let status = unsafe { sys::napi_is_exception_pending(env.raw(), &raw mut pending) };
    if status == sys::Status::napi_ok && pending {
        let mut exception = ptr::null_mut();
        // SAFETY:
        // - takes the pending exception of a live environment out.
        let cleared = unsafe { sys::napi_get_and_clear_last_exception(env.raw(), &raw mut exception) };
        debug_assert_eq!(cleared, sys::Status::napi_ok);
    }
}

fn refused(array: &DynMmapArray, reason: &str) -> CoreError {
    CoreError::Unavailable { path: array.file_path().to_path_buf(), reason: reason.to_owned() }
}

/// The memory behind a typed array of JavaScript, for the length of one call.
pub(crate) struct Memory {
    first: *mut u8,
    len: usize,
}

/// Looks up where a `Uint8Array` keeps its bytes.
///
/// They stay there until control returns to JavaScript, so the result must not outlive the call it was made in.
pub(crate) fn memory(env: &Env, bytes: &Unknown) -> Result<Memory> {
    let (mut kind, mut len, mut first) = (0, 0, ptr::null_mut());
    // SAFETY:
    // - `bytes` is a value of this environment; a value that is no typed array is a status, not a fault.
    // - the unwanted results are null, which Node-API allows.
    let status = unsafe {
        sys::napi_get_typedarray_info(
            env.raw(),
            bytes.raw(),
            &raw mut kind,
            &raw mut len,
            &raw mut first,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint8_array {
        return Err(Error::new(Status::InvalidArg, "expected a Uint8Array"));
    }
    let first = if first.is_null() { ptr::dangling_mut() } else { first.cast() };
    Ok(Memory { first, len })
}

/// A copy of the bytes of a `Uint8Array`.
pub(crate) fn copy_bytes(env: &Env, bytes: &Unknown) -> Result<Vec<u8>> {
    let Memory { first, len } = memory(env, bytes)?;
    let mut copy = Vec::with_capacity(len);
    // SAFETY:
    // - `len` bytes from `first` on are the typed array's for as long as this call lasts.
    // - not protected: another thread that writes shared memory meanwhile; any mixture of bytes is a value.
    // - `copy` is new memory with room for them, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(first, copy.as_mut_ptr(), len) };
    // SAFETY:
    // - the copy above has written `len` bytes.
    unsafe { copy.set_len(len) };
    Ok(copy)
}

/// Memory of our own, for as long as the bytes are not touched otherwise.
pub(crate) fn owned(bytes: &mut [u8]) -> Memory {
    Memory { first: bytes.as_mut_ptr(), len: bytes.len() }
}

impl Memory {
    /// Bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes all bytes to the file, at byte `offset` of its new rows.
    pub(crate) fn write_to(&self, growth: &Growth, offset: u64) -> CoreResult<()> {
        // SAFETY:
        // - `len` bytes from `first` on are the typed array's for as long as this call lasts.
        unsafe { growth.write_from(offset, self.first, self.len) }
    }

    /// Copies the element at a position of an array to here, if there is room for just that.
    pub(crate) fn take_element(&self, array: &DynMmapArray, position: u64) -> CoreResult<()> {
        let mut element = [0; 16];
        let bytes = element.get_mut(..self.len).unwrap_or_default();
        array.element(position, bytes)?;
        // SAFETY:
        // - `len` bytes from `first` on are the typed array's for as long as this call lasts; `bytes` are as many, or the
        //   array has refused them.
        // - `element` is memory of our own, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.first, bytes.len()) };
        Ok(())
    }

    /// The elements that `layout` reaches in this memory.
    pub(crate) fn view(&self, dtype: DType, layout: &NativeLayout) -> CoreResult<RawView> {
        let len = self.len / dtype.itemsize();
        self.laid_out(dtype, &layout.check(len as u64)?)
    }

    /// The same for a layout that has been checked before.
    pub(crate) fn laid_out(&self, dtype: DType, layout: &Layout) -> CoreResult<RawView> {
        // SAFETY:
        // - the memory is JavaScript's, and readable and writable for the length of this call; or it is that of `owned`.
        unsafe { RawView::new(self.first, self.len, dtype.itemsize(), dtype.into(), layout) }
    }

    /// All of this memory as an array of `shape` in C order.
    pub(crate) fn contiguous(&self, dtype: DType, shape: &[usize]) -> CoreResult<RawView> {
        let len = self.len / dtype.itemsize();
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let layout = Layout::contiguous(shape, mmap_ndarray_core::Order::C, len as u64)?;
        // SAFETY:
        // - as in `view`.
        unsafe { RawView::new(self.first, self.len, dtype.itemsize(), dtype.into(), &layout) }
    }
}

/// The elements of an array that `layout` reaches, for the length of one call.
pub(crate) fn view(array: &DynMmapArray, layout: &Layout) -> CoreResult<RawView> {
    // SAFETY:
    // - the view is used by a kernel while the caller holds the array, and with it the mapping.
    unsafe { array.raw(layout) }
}

/// Calls `store` with the elements of an array that `layout` reaches, which it may store to.
pub(crate) fn store(
    array: &DynMmapArray,
    layout: &Layout,
    store: impl FnOnce(&RawView) -> CoreResult<()>,
) -> CoreResult<()> {
    // SAFETY:
    // - callers hand kernels to this, which keep no view.
    unsafe { array.store(layout, store) }
}
