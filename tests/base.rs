//! Tests: scripts/build-base.sh.
