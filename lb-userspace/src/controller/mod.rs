//! controller: see ARCHITECTURE.md.
