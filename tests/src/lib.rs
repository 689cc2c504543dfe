//! rtnetlink.
