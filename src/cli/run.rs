//! `i2kit run`: a Pod, an image or a disk in a local virtual machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use i2kit_contract::{Contract, Port, Status};

use super::args::{Accel, Bus, PlaceArgs, Run};
use super::error::Error;
use super::learn::Learning;
use super::plan::{Origin, cache_folder, plan};
use super::timeline::Timeline;
use crate::output::Beside;
use crate::run::{self, Accelerator, DiskBus, Ending, Event, Loader, Options};
use crate::{disk::FileDisk, inspect};

/// Exit code when no machine was started.
pub const EXIT_NOT_RUN: u8 = 125;

/// `i2kit run`; answers the Pod's exit code.
pub fn run(arguments: &Run) -> Result<u8, Error> {
    let disk = disk(arguments)?;
    let contract = inspect::contract(&FileDisk::open(&disk)?)?;
    let learning = arguments.learn.as_deref();
    let learning = learning.map(|path| Learning::begin(path, &contract));
    let learning = learning.transpose()?;
    let options = options(arguments, disk, contract)?;
    let mut told = Told::new(learning);
    let quiet = arguments.pod.progress.quiet;
    let outcome = run::run(&options, &mut |event| {
        told.hear(&event);
        show(&event, quiet);
    })?;
    match &outcome.ending {
        Ending::Failed(reason) => super::say(&format!("error: run the Pod: {reason}")),
        Ending::TimedOut => super::say("error: run the Pod: the time is up"),
        Ending::Ended {
            reason: Some(reason),
            ..
        } => super::say(&format!("error: run the Pod: {reason}")),
        Ending::Ended { .. } | Ending::Stopped(_) => {}
    }
    if outcome.rebooted && !quiet {
        super::say("note: the guest rebooted; a run ends there");
    }
    told.end(arguments.timeline.as_deref(), outcome.exit_code())
}

/// What is made of the guest's words behind the run.
struct Told {
    started: Instant,
    timeline: Timeline,
    learning: Option<Learning>,
}

impl Told {
    fn new(learning: Option<Learning>) -> Self {
        Self {
            started: Instant::now(),
            timeline: Timeline::default(),
            learning,
        }
    }

    fn hear(&mut self, event: &Event<'_>) {
        match event {
            // A machine under KVM is told of only when it has spoken.
            Event::Starting {
                accelerator: Accelerator::Tcg,
                ..
            } => self.started = Instant::now(),
            Event::Status(status) => {
                self.timeline.hear(status, self.started.elapsed());
                if let (Some(learning), Status::Learned(learned)) = (&mut self.learning, status) {
                    learning.hear(learned);
                }
            }
            _ => {}
        }
    }

    /// Writes the files that were asked for; answers the exit code, `code` unless nothing was
    /// learned.
    fn end(self, timeline: Option<&Path>, code: u8) -> Result<u8, Error> {
        if let Some(path) = timeline {
            Beside::write(path, self.timeline.svg().as_bytes())?;
        }
        match self.learning.map(Learning::end).transpose() {
            Ok(None) => Ok(code),
            Ok(Some(learned)) => {
                super::say(&learned);
                Ok(code)
            }
            // The Pod has run, and its exit code is still its own.
            Err(error) => {
                super::report(&error);
                Ok(code.max(1))
            }
        }
    }
}

/// The machine that the flags ask for.
fn options(arguments: &Run, disk: PathBuf, contract: Contract) -> Result<Options, Error> {
    let learns = arguments.learn.is_some();
    let mut options = Options::new(disk);
    options.control = contract.control.then(|| name(arguments, &contract));
    options.config = super::config::document(&arguments.config, &contract, learns)?;
    let containers = contract.containers.into_iter();
    let ports: Vec<Port> = containers.flat_map(|container| container.ports).collect();
    options.forwards = run::settle(&run::with_defaults(&arguments.publish, &ports))?;
    options.memory_mib = u32::try_from(arguments.memory >> 20).unwrap_or(u32::MAX);
    options.cpus = arguments.cpus;
    options.timeout = arguments.timeout;
    options.disk_bus = match arguments.disk_bus {
        Bus::Virtio => DiskBus::Virtio,
        Bus::Nvme => DiskBus::Nvme,
        Bus::Scsi => DiskBus::Scsi,
    };
    options.data_disks.clone_from(&arguments.data_disks);
    options.accel = match arguments.accel {
        Accel::Auto => run::Accel::Auto,
        Accel::Kvm => run::Accel::Kvm,
        Accel::Tcg => run::Accel::Tcg,
    };
    options.kvm_hangs = kvm_hangs(arguments);
    if arguments.direct_boot {
        options.loader = Loader::Direct;
    } else if let Some(vars) = &arguments.uefi_vars {
        options.loader = Loader::Firmware(Some(run::Firmware::secure(vars)?));
    }
    Ok(options)
}

/// The machine's name: its Pod's, unless another one was asked for.
fn name(arguments: &Run, contract: &Contract) -> String {
    let name = arguments.vm.as_ref().unwrap_or(&contract.name);
    name.clone()
}

/// The disk to boot, built now unless it was named.
fn disk(arguments: &Run) -> Result<PathBuf, Error> {
    let origin = match &arguments.what {
        Some(what) if Path::new(what).is_file() => return Ok(PathBuf::from(what)),
        Some(reference) => Origin::Image {
            reference,
            args: &arguments.args,
        },
        None => Origin::Manifests,
    };
    let start = Instant::now();
    let plan = plan(
        &arguments.pod,
        &origin,
        &PlaceArgs::default(),
        arguments.scratch,
    )?;
    let folder = plan.cache.folder().join("run");
    let context = |source| Error::Read {
        path: folder.clone(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(context)?;
    let path = folder.join(format!("{}.raw", plan.pod.name));
    let summary = super::build::disk(&plan, &path, arguments.pod.progress, start)?;
    if !arguments.pod.progress.is_silent() {
        super::say(&summary.render());
    }
    Ok(path)
}

/// Where it is remembered that guests hang under KVM; nowhere, when there is no such folder.
fn kvm_hangs(arguments: &Run) -> Option<PathBuf> {
    let folder = cache_folder(arguments.pod.cache.cache_dir.as_deref()).ok()?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("kvm-hangs"))
}

fn show(event: &Event<'_>, quiet: bool) {
    match event {
        Event::Starting {
            accelerator,
            forwards,
        } if !quiet => {
            super::say(&format!("starting the machine ({accelerator})"));
            for forward in *forwards {
                super::say(&format!("  forward {forward}"));
            }
        }
        Event::Console(text) => {
            let mut out = std::io::stdout().lock();
            // Nobody to show it to is no reason to stop the machine.
            let _ = out.write_all(text).and_then(|()| out.flush());
        }
        Event::Status(Status::Exited {
            container,
            exit_code,
            oom_killed,
            restart_in_ms,
            ..
        }) if !quiet => {
            let why = if *oom_killed { ", out of memory" } else { "" };
            let next = match restart_in_ms {
                Some(pause) => format!("; restart in {} s", pause / 1000),
                None => String::new(),
            };
            super::say(&format!(
                "container {container} ended: {exit_code}{why}{next}"
            ));
        }
        Event::Stopping if !quiet => super::say("stopping; Ctrl-C again ends the machine at once"),
        Event::Warning(warning) => super::say(&format!("warning: {warning}")),
        _ => {}
    }
}
