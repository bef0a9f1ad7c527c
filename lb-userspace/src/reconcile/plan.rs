//! What a change of configuration comes to: the writes, and what they mean to an operator.

use lb_common::abi::HALF_ENTRIES;
use lb_common::limits::MAX_LISTENERS;

use super::changes::Unchanged;
use super::live::NoLiveWord;
use super::tables::TableError;
use super::write::Write;

/// Writes, and what they mean.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub writes: Vec<Write>,
    /// One line for each thing that an operator would call a change.
    pub changes: Vec<String>,
    /// Slots of live tables that get another owner.
    pub slots_moved: u64,
    /// Slots of the tables that are touched.
    pub slots: u64,
    /// Services whose flows are re-homed, because their table changes size, or other parts of a flow are hashed.
    pub rehomed: Vec<String>,
    /// Services that stay as they are.
    pub unchanged: Unchanged,
}

/// Why a configuration cannot be put in force here and now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The lookup tables do not fit.
    #[error("service `{service}`: {error}")]
    Table {
        /// The service.
        service: String,
        /// What is missing.
        error: TableError,
    },
    /// The rows do not fit.
    #[error("service `{service}`: no room for {rows} rows; restart Fairway to size its tables anew")]
    NoRows {
        /// The service.
        service: String,
        /// What was asked for.
        rows: u32,
    },
    /// The tables of stateful services do not fit.
    #[error(
        "service `{service}`: no room for the connection counts of {loads} backends; restart Fairway to size its tables anew"
    )]
    NoLoads {
        /// The service.
        service: String,
        /// What was asked for.
        loads: u32,
    },
    /// The table of access rules is full, counting those that this change takes away.
    #[error(
        "service `{service}`: no room for its access rules, counting those that this change takes away: take them away first"
    )]
    NoAccessRules {
        /// The service.
        service: String,
    },
    /// There is nowhere to count the packets of a service that goes by connection IDs, counting those that this change takes away.
    #[error(
        "service `{service}`: no room for its counters of QUIC, counting those that this change takes away: take them away first"
    )]
    NoQuicCounters {
        /// The service.
        service: String,
    },
    /// There are too many virtual routers.
    #[error(transparent)]
    NoLiveWord(#[from] NoLiveWord),
    /// More keys than the perfect hash takes. (Or one twice, which the configuration check refuses.)
    #[error(
        "the service tables are full: {listeners} listeners (room for {MAX_LISTENERS}) and {translated} pairs of a listener and a translated backend, those that still drain among them (room for {})",
        HALF_ENTRIES / 2
    )]
    NoPerfectHash {
        /// Listeners asked for.
        listeners: usize,
        /// Reverse entries asked for.
        translated: usize,
    },
}
