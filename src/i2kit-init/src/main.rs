//! PID 1 of an i2kit guest: opens the verified store, starts containerd and runs one Pod.
//!
//! The base image's `system/` becomes the root. It is read-only, so it must bring the empty
//! folders `dev proc sys run tmp var`, and these programs with their libraries:
//! `/usr/bin/containerd`, `/usr/bin/containerd-shim-runc-v2`, `/usr/sbin/runc`,
//! `/usr/sbin/mkfs.ext4`.

use std::{env, io, process::ExitCode};

use i2kit_contract::Status;

mod aws;
mod block;
mod boot;
mod cgroup;
mod cmdline;
mod config;
mod console;
mod containerd;
mod control;
mod cpu;
mod fault;
mod http;
mod kernel;
mod kmsg;
mod learn;
mod modules;
mod mounts;
mod net;
mod paths;
mod pod;
mod power;
mod report;
mod requests;
mod scratch;
mod time;
mod uptime;
mod verity;

use boot::Boot;
use console::Console;
use fault::Chain;
use pod::namespace;
use power::Fuse;
use report::Report;

fn main() -> ExitCode {
    if env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == namespace::ROLE)
    {
        return match namespace::hold() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if std::process::id() != 1 {
        return not_pid_1();
    }
    let console = Console::start();
    let report = Report::new(console.clone());
    let fuse = Fuse::new(console.clone(), report.clone());
    let panicked = fuse.clone();
    std::panic::set_hook(Box::new(move |panic| {
        panicked.blow(&format!("internal error: {panic}").replace('\n', " "))
    }));
    match Boot::new(console, report.clone(), fuse.clone()).run() {
        Ok(outcome) => {
            report.send_last(&Status::Ended {
                containers: outcome.exits,
                reason: outcome.reason,
            });
            fuse.end(outcome.ending)
        }
        Err((step, error)) => fuse.blow(&format!("step {step} failed: {}", Chain(&error))),
    }
}

/// Outside a guest only the table of steps is of use.
fn not_pid_1() -> ExitCode {
    let steps = env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == "--steps");
    let result = if steps {
        boot::print_steps(io::stdout())
    } else {
        Err(io::Error::other(
            "this is PID 1 of an i2kit guest; --steps prints what it does",
        ))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to report a failure of standard error to.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("i2kit-init: {error}\n"));
            ExitCode::FAILURE
        }
    }
}
