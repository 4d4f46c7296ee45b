//! Work that may panic, with the panic as a value.
//!
//! Adapters and probes are code of others. A caller of them holds a place of some
//! daemon's capacity, and must get an answer whatever happens.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use tracing::error;

use crate::runtime::CallError;

/// Does the work; fails with the message of its panic, and logs it.
///
/// # Cancel safety
/// As the work.
pub(crate) async fn catch_panic<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| logged(what, &*panic))
}

/// The same for synchronous work.
pub(crate) fn catch_panic_at_once<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| logged(what, &*panic))
}

/// The same for a call to a daemon: a panic is a refusal.
pub(crate) async fn catch_panic_as_refusal<T>(
    what: &str,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    catch_panic(what, call).await.unwrap_or_else(|message| Err(CallError::refused(message)))
}

fn logged(what: &str, panic: &(dyn Any + Send)) -> String {
    let message = format!("a mistake in the program: {what} panicked: {}", text_of(panic));
    error!("{message}");
    message
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
