//! Work that may panic, with the panic as a value.
//!
//! Adapters and probes are code of others. What waits for their answer holds a
//! place of some daemon's capacity, and must be answered whatever happens.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use tracing::error;

use crate::runtime::CallError;

/// Does the work; fails with what it panicked with, and logs it.
///
/// # Cancel safety
/// As the work.
pub(crate) async fn caught<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = Box::pin(work);
    // What panicked is not polled again, only dropped.
    let outcome = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    outcome.await.map_err(|panic| logged(what, &*panic))
}

/// The same for what is done at once.
pub(crate) fn caught_at_once<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| logged(what, &*panic))
}

/// The same for a call to a daemon: a panic is a refusal.
pub(crate) async fn called<T>(
    what: &str,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    caught(what, call).await.unwrap_or_else(|message| Err(CallError::refused(message)))
}

fn logged(what: &str, panic: &(dyn Any + Send)) -> String {
    let message = format!("a mistake in the program: {what} panicked: {}", said(panic));
    error!("{message}");
    message
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
