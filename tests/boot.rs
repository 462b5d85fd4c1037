//! Tests: boot.
