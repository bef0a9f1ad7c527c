//! Probing the backends: how a probe reaches its backend ([`route`]), and what is asked of it there ([`probe`]).

pub mod probe;
pub mod route;
mod trouble;
