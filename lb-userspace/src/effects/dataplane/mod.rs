//! The kernel's side of the packet path: the loaded program, its maps and where it is attached.

pub mod grace;
mod maps;
mod mmap;
pub mod object;

pub use maps::{FlowMap4, FlowMap6, Maps};
pub use mmap::MappedArray;
