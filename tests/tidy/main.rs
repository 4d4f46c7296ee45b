//! Rules of the source tree that no compiler checks: who imports whom, that no files import each
//! other in a circle, that a name means one thing, how long files are, that each says what it
//! is for, that the tests exist which the table of faults names, and the commands and places that
//! the documents name.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

mod circles;
mod docs;
mod faults;
mod files;
mod layers;
mod names;
mod source;
