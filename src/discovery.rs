//! Where the fleet comes from, when not from the file alone.

pub mod consul;
