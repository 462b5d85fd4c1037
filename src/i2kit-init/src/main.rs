//! PID 1 of an i2kit guest.

fn main() {}
