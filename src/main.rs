//! The `i2kit` command.

fn main() {}
