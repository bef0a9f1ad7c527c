//! admin: see ARCHITECTURE.md.
