//! scheduler: see ARCHITECTURE.md.
