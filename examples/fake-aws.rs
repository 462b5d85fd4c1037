//! The fake AWS account of the tests, alone: for trying `i2kit push` without an account, and for
//! measuring. `scripts/fake-aws.sh` builds and runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#![allow(missing_docs)]
// The tests use the rest.
#![allow(dead_code)]

#[path = "../tests/support/cloud/mod.rs"]
mod cloud;
#[path = "../tests/support/random.rs"]
mod random;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use cloud::{Fake, Plan, Settings};

/// A strict fake of the AWS services that `i2kit push` uses, on this machine.
#[derive(Parser)]
struct Arguments {
    /// Port to listen on at 127.0.0.1; 0: a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds that each answer waits
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// PutSnapshotBlock requests a second
    #[arg(long, default_value_t = 1000)]
    put_rate: u32,
    /// Bytes of a block
    #[arg(long, default_value_t = 512 << 10)]
    block_size: u32,
    /// Milliseconds that images are pending
    #[arg(long, default_value_t = 0)]
    pending: u64,
    /// Seed of what goes wrong now and then: errors, resets, slow answers
    #[arg(long)]
    faults: Option<u64>,
    /// Keep blocks in a nameless file in this folder instead of in memory
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    let mut settings = Settings {
        port: arguments.port,
        latency: Duration::from_millis(arguments.latency),
        block_size: arguments.block_size,
        pending_image: Duration::from_millis(arguments.pending),
        folder: arguments.folder,
        faults: arguments.faults.map(Plan::new),
        ..Settings::default()
    };
    settings.rates.put = arguments.put_rate;
    // What is measured is reading and writing blocks.
    settings.rates.get = arguments.put_rate;
    let fake = Fake::start(settings);
    let mut out = std::io::stdout().lock();
    for (name, value) in fake.environment() {
        writeln!(out, "export {name}={value}").unwrap();
    }
    out.flush().unwrap();
    loop {
        std::thread::park();
    }
}
