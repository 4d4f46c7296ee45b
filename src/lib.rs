//! Ganger: a TCP proxy that gives every connection its own Docker container,
//! already running when the client arrives.

pub mod admin;
pub mod app;
mod aside;
pub mod bench;
mod cell;
mod chart;
pub mod cli;
pub mod config;
pub mod consul;
pub mod discovery;
pub mod docker;
pub mod dyn_eq;
pub mod endpoint;
mod http;
pub mod image;
mod legible;
mod netlink;
pub mod probe;
pub mod proxy;
pub mod reach;
mod reactor;
mod registry;
pub mod shutdown;
pub mod spec;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trial;
