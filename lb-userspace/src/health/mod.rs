//! Health: what is known of the backends, and which of them get traffic. Pure: no clock, no socket.
//!
//! Three parts, each of which knows only the next one's words:
//!
//! - [`spec`]: what is asked of whom, when. Services that ask the same of the same backend share one [`spec::Spec`], so one probe.
//! - [`checker`]: when each probe begins, and what its outcomes say: a [`verdict::Verdict`] for each spec. It runs on the
//!   prober's thread (`effects::prober`), which performs the probes.
//! - [`pool`]: from configured weights, verdicts and operators' words to the effective weights that tables are made from.
//!
//! [`uses`] is who uses which spec, [`view`] what is said of checks.

pub mod checker;
pub mod outlier;
pub mod pool;
pub mod spec;
pub mod uses;
pub mod verdict;
pub mod view;
