//! netlink: see ARCHITECTURE.md.
