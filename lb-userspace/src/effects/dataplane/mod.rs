//! dataplane: see ARCHITECTURE.md.
