//! The playground: networks of namespaces on this machine, for `fairway demo` and for the namespace tests.
//!
//! [`topology`] says what such a network looks like, [`lab`] builds it and takes it away again, [`leftovers`] does so
//! after a crash. [`namespace`] and [`process`] run things inside. [`demo`](fn@demo) puts Fairway, four small web servers and a
//! client into one and shows who serves what. Unsafe code is in [`xdp_pass`] and [`offload`] alone.

mod balancer;
mod config;
mod demo;
mod lab;
mod leftovers;
mod loopback;
mod namespace;
mod offload;
mod process;
mod ready;
mod screen;
mod server;
mod tools;
pub mod topology;
mod traffic;
mod xdp_pass;

pub use config::{KEY_FILE, admin_address, backend_name, configuration, node_configuration};
pub use demo::{DemoOptions, NeedsRoot, demo};
pub use lab::{Lab, VETH_NOTE};
pub use leftovers::clean;
pub use namespace::Namespace;
pub use process::Process;
pub use ready::is_ready;
pub use server::{ServerOptions, echo, serve};
pub use tools::MissingTool;
