//! The daemon as others meet it: the real binary, a real redis-server, real sockets.

#![expect(
    clippy::disallowed_methods,
    clippy::float_cmp,
    clippy::print_stderr,
    reason = "tests own their tasks, wait in real time and compare counts"
)]
#![expect(unreachable_pub, reason = "everything here is for this one binary")]

mod api;
mod arrivals;
mod chaos;
mod cli;
mod cluster;
mod config;
mod connection;
mod console;
mod dashboards;
mod demo;
mod docs;
mod documents;
mod drain;
mod faults;
mod gates;
mod guard;
mod http;
mod moogsoft;
mod notify;
mod operate;
mod release;
mod rules;
mod sentinel;
mod settings;
mod shutdown;
mod slo;
mod soak;
mod sources;
mod stall;
mod support;
mod traces;
mod wake;
