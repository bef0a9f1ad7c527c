//! playground: see ARCHITECTURE.md.
