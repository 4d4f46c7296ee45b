//! Rules of the source tree that no compiler checks: who imports whom, that no files import each
//! other in a circle, that a name means one thing, how long files are, that each says what it
//! is for, and that the tests exist which the table of faults names.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

mod circles;
mod faults;
mod files;
mod layers;
mod names;
mod source;
