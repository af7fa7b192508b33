//! An error of the core as one of JavaScript, with the fields that the contract names.
//!
//! TypeScript makes it: `src/native.ts` hands over the function that does when it loads. It is kept with the
//! environment, so that every worker has errors of its own classes.

use mmap_ndarray_core::Error as CoreError;
use napi::bindgen_prelude::{FnArgs, Function, FunctionRef, JsValue, Object};
use napi::{Env, Error, Result, Unknown};
use napi_derive::napi;

type Parts = FnArgs<(String, Object<'static>)>;

/// The function that makes errors, in one environment.
struct ErrorMaker(FunctionRef<Parts, Unknown<'static>>);

/// Takes the function that makes errors; called once, by `src/native.ts`.
#[napi(catch_unwind, ts_args_type = "makeError: (message: string, fields: any) => Error")]
pub fn register_error_maker(env: Env, make_error: Function<Parts, Unknown<'static>>) -> Result<()> {
    env.set_instance_data(ErrorMaker(make_error.create_ref()?), (), |_| {})
}

/// Makes the JavaScript error, ready to be thrown or rejected with.
pub(crate) fn js_error(env: &Env, error: CoreError) -> Error {
    // Failing to make the error is an error as well, and a better one than nothing.
    make(env, &error).unwrap_or_else(|failure| failure)
}

fn make(env: &Env, error: &CoreError) -> Result<Error> {
    let mut fields = Object::new(env)?;
    fields.set("code", error.code())?;
    if let Some(path) = error.path() {
        fields.set("path", path.to_string_lossy().as_ref())?;
    }
    match error {
        CoreError::Io { syscall, .. } => {
            fields.set("syscall", *syscall)?;
            fields.set("errno", error.errno())?;
        }
        CoreError::UnsupportedVersion { version, .. } => fields.set("version", version.as_str())?,
        CoreError::MappingLost { reason, .. } => fields.set("reason", reason.name())?,
        CoreError::UnsupportedDtype { dtype, .. } => fields.set("dtype", dtype.as_str())?,
        #[expect(
            clippy::cast_precision_loss,
            reason = "file sizes beyond 2^53 bytes are rounded in a message"
        )]
        CoreError::FileTooShort { expected, actual, .. }
        | CoreError::TrailingData { expected, actual, .. } => {
            fields.set("expected", *expected as f64)?;
            fields.set("actual", *actual as f64)?;
        }
        CoreError::DtypeMismatch { expected, actual, .. } => {
            fields.set("expected", expected.as_str())?;
            fields.set("actual", actual.as_str())?;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "shapes beyond 2^53 elements are rounded in a message"
        )]
        CoreError::ShapeMismatch { expected, actual, .. } => {
            let numbers = |shape: &[u64]| shape.iter().map(|&n| n as f64).collect::<Vec<f64>>();
            fields.set("expected", numbers(expected))?;
            fields.set("actual", numbers(actual))?;
        }
        _ => {}
    }
    let Some(ErrorMaker(make_error)) = env.get_instance_data::<ErrorMaker>()? else {
        return Ok(Error::from_reason(error.to_string()));
    };
    // The object goes straight to the function and is not kept.
    let fields = Object::from_raw(env.raw(), fields.raw());
    let value = make_error.borrow_back(env)?.call(FnArgs::from((error.to_string(), fields)))?;
    Ok(Error::from(value))
}
