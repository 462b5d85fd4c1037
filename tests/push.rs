//! Tests: disks become AMIs, in an account that is strict and often fails.

mod account;
mod boto;
mod clerk;
mod delta;
mod faults;
mod keys;
mod manage;
mod publish;
mod undo;
mod upload;
