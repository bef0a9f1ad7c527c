//! reconcile: see ARCHITECTURE.md.
