//! The boot: a table of steps, run in order, each timed and reported.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use i2kit_contract::{
    Contract, MODULES_LIST, POD_JSON, ProcessNamespace, SecretPlace, Status,
    runtime::{RuntimeConfig, Secret},
    secret_places,
};
use tokio::runtime::Runtime;

use crate::{
    aws,
    block::partition::{self, Partition},
    cgroup,
    cmdline::{self, Fec, RootHash},
    config::{self, Found},
    console::{self, Console},
    containerd::{client::Client, daemon, keeper::Keeper},
    control::registry::Registry,
    cpu,
    fault::{Chain, Context, Fault},
    kernel, kmsg,
    learn::Learner,
    modules, mounts,
    net::{iface, settings::Settings, setup},
    paths,
    pod::{
        events::Events,
        folders, namespace,
        supervise::{self, Outcome, Pod},
        values::{self, Values},
        volumes,
    },
    power::Fuse,
    report::Report,
    requests, scratch, time, uptime,
    verity::{dm, recheck::Recheck, superblock},
};

/// How long the store's disk may take to appear.
const DISK_PATIENCE: Duration = Duration::from_secs(30);
/// How long the partition with its parity may take longer: the kernel shows a disk's partitions
/// together.
const FEC_PATIENCE: Duration = Duration::from_secs(2);
/// How long containerd may take to answer; software emulation of a CPU takes its time.
const CONTAINERD_PATIENCE: Duration = Duration::from_secs(120);
/// How long the Pod waits for an address before it starts without one.
const LEASE_PATIENCE: Duration = Duration::from_secs(15);
/// A container's log: the kubelet's 10 MiB and 5 files; less where logs live in memory.
const LOGS_ON_DISK: (u64, u8) = (10 << 20, 4);
const LOGS_IN_MEMORY: (u64, u8) = (1 << 20, 1);

/// One step of the boot.
pub struct Step {
    /// Its name in reports.
    pub name: &'static str,
    /// What it does, for people.
    pub purpose: &'static str,
    /// Does it.
    pub run: fn(&mut Boot) -> Result<(), Error>,
}

/// The whole boot, in order.
pub const STEPS: &[Step] = &[
    Step {
        name: "extra",
        purpose: "delete /.extra, which comes unauthenticated from the ESP",
        run: extra,
    },
    Step {
        name: "mounts",
        purpose: "mount /proc, /sys and /dev, take over the consoles",
        run: early_mounts,
    },
    Step {
        name: "cmdline",
        purpose: "read the root hash and the failure policy",
        run: read_cmdline,
    },
    Step {
        name: "modules",
        purpose: "load the kernel modules of the target",
        run: load_modules,
    },
    Step {
        name: "disk",
        purpose: "find the store's partitions by the root hash",
        run: find_disk,
    },
    Step {
        name: "verity",
        purpose: "open the store through dm-verity",
        run: open_verity,
    },
    Step {
        name: "store",
        purpose: "mount the store and read the contract",
        run: mount_store,
    },
    Step {
        name: "config",
        purpose: "read the run-time configuration that the machine brings",
        run: read_config,
    },
    Step {
        name: "root",
        purpose: "make the store's system/ the root",
        run: switch_root,
    },
    Step {
        name: "network",
        purpose: "bring up loopback and the first Ethernet interface",
        run: start_network,
    },
    Step {
        name: "kernel",
        purpose: "set the Pod's kernel parameters, reserve its huge pages",
        run: set_kernel,
    },
    Step {
        name: "cgroup",
        purpose: "mount cgroup v2 and what containers share",
        run: prepare_cgroup,
    },
    Step {
        name: "containerd",
        purpose: "start containerd",
        run: start_containerd,
    },
    Step {
        name: "scratch",
        purpose: "make, format and mount the scratch partition",
        run: mount_scratch,
    },
    Step {
        name: "api",
        purpose: "connect to containerd",
        run: connect,
    },
    Step {
        name: "lease",
        purpose: "wait for an address",
        run: await_lease,
    },
    Step {
        name: "metadata",
        purpose: "on EC2, read the user data, and the Secrets that Amazon keeps",
        run: read_metadata,
    },
    Step {
        name: "volumes",
        purpose: "make the Pod's volumes, once its Secrets are there",
        run: make_volumes,
    },
    Step {
        name: "time",
        purpose: "start to keep the time",
        run: start_time,
    },
    Step {
        name: "pod",
        purpose: "run the Pod's containers until they end",
        run: run_pod,
    },
];

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system operation.
    #[error(transparent)]
    System(#[from] Fault),
    /// The command line makes no sense.
    #[error(transparent)]
    Cmdline(#[from] cmdline::Error),
    /// The command line has no root hash.
    #[error(
        "the kernel command line has no {}=",
        i2kit_contract::CMDLINE_ROOT_HASH
    )]
    NoRootHash,
    /// A partition is missing.
    #[error(transparent)]
    Partition(#[from] partition::Missing),
    /// The hash partition is none.
    #[error("read {device}")]
    Superblock {
        /// The hash partition's node.
        device: String,
        /// Why.
        source: superblock::Error,
    },
    /// The contract cannot be used.
    #[error(transparent)]
    Contract(#[from] i2kit_contract::Error),
    /// Scratch cannot be used.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// A value that the Pod needs is missing.
    #[error(transparent)]
    Value(#[from] values::Error),
    /// A volume cannot be made.
    #[error(transparent)]
    Volume(#[from] volumes::Error),
    /// containerd cannot be used.
    #[error(transparent)]
    Containerd(#[from] crate::containerd::client::Error),
    /// QEMU's document cannot be read.
    #[error(transparent)]
    FwCfg(#[from] config::fw_cfg::Error),
    /// The run-time configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The table's order is wrong.
    #[error("needs {0}, which no step before it has set")]
    Order(&'static str),
}

/// What the steps have found out so far.
pub struct Boot {
    console: Console,
    report: Report,
    fuse: Fuse,
    begun: Instant,
    times: Vec<(&'static str, Duration)>,
    root_hash: Option<RootHash>,
    fec: Option<Fec>,
    disk: Option<Disk>,
    mapped: Option<PathBuf>,
    contract: Option<Contract>,
    config: Option<RuntimeConfig>,
    /// Those that Amazon keeps.
    secrets: BTreeMap<String, Secret>,
    network: Option<Settings>,
    lease: Option<mpsc::Receiver<()>>,
    lease_deadline: Option<Instant>,
    runtime: Option<Runtime>,
    client: Option<Client>,
    containerd: u32,
    scratch: String,
    values: Option<Arc<Values>>,
    outcome: Option<Outcome>,
}

struct Disk {
    data: Partition,
    hash: Partition,
    root_hash: RootHash,
    fec: Option<dm::FecDevice>,
}

impl Boot {
    /// Nothing done yet.
    pub fn new(console: Console, report: Report, fuse: Fuse) -> Self {
        Self {
            console,
            report,
            fuse,
            begun: Instant::now(),
            times: Vec::new(),
            root_hash: None,
            fec: None,
            disk: None,
            mapped: None,
            contract: None,
            config: None,
            secrets: BTreeMap::new(),
            network: None,
            lease: None,
            lease_deadline: None,
            runtime: None,
            client: None,
            containerd: 0,
            scratch: String::new(),
            values: None,
            outcome: None,
        }
    }

    /// Runs every step. The last one returns when the Pod has ended.
    ///
    /// # Errors
    /// The first step that failed: its name and why.
    pub fn run(mut self) -> Result<Outcome, (&'static str, Error)> {
        for step in STEPS {
            self.report.send(&Status::Stage {
                name: step.name.into(),
                at_ms: uptime::milliseconds(),
            });
            let begun = Instant::now();
            (step.run)(&mut self).map_err(|error| (step.name, error))?;
            self.times.push((step.name, begun.elapsed()));
        }
        self.outcome.ok_or(("pod", Error::Order("outcome")))
    }

    fn contract(&self) -> Result<&Contract, Error> {
        self.contract.as_ref().ok_or(Error::Order("contract"))
    }

    /// The configured host name, else the contract's.
    fn hostname(&self) -> Result<String, Error> {
        let configured = self
            .config
            .as_ref()
            .and_then(|config| config.hostname.as_ref());
        match configured {
            Some(label) => Ok(label.as_str().to_owned()),
            None => Ok(self.contract()?.hostname.clone()),
        }
    }

    fn disk(&self) -> Result<&Disk, Error> {
        self.disk.as_ref().ok_or(Error::Order("disk"))
    }

    fn runtime(&self) -> Result<&Runtime, Error> {
        self.runtime.as_ref().ok_or(Error::Order("runtime"))
    }

    /// One line with the time of each stage so far.
    fn summary(&self) -> String {
        let stages: Vec<String> = self
            .times
            .iter()
            .map(|(name, time)| format!("{name} {}", time.as_millis()))
            .collect();
        stages.join(", ")
    }
}

fn extra(boot: &mut Boot) -> Result<(), Error> {
    if mounts::delete_extra()? {
        boot.console
            .say("deleted /.extra unread: it came from the ESP, which nobody has verified");
    }
    Ok(())
}

fn early_mounts(boot: &mut Boot) -> Result<(), Error> {
    mounts::mount_early()?;
    boot.console.attach(console::active_terminals());
    boot.console
        .say(concat!("version ", env!("CARGO_PKG_VERSION")));
    Ok(kmsg::start(&boot.fuse, &boot.console)?)
}

fn read_cmdline(boot: &mut Boot) -> Result<(), Error> {
    let text = fs::read_to_string("/proc/cmdline").context("read", "/proc/cmdline")?;
    // The policy first: it holds for a bad root hash too.
    boot.fuse.set_policy(cmdline::failure_policy(&text)?);
    boot.root_hash = cmdline::root_hash(&text)?;
    boot.fec = cmdline::fec(&text)?;
    Ok(())
}

fn load_modules(_: &mut Boot) -> Result<(), Error> {
    modules::load_all(&Path::new("/").join(MODULES_LIST), cpu::is_emulated())?;
    Ok(())
}

fn find_disk(boot: &mut Boot) -> Result<(), Error> {
    let root_hash = boot.root_hash.ok_or(Error::NoRootHash)?;
    let data = partition::wait_for("store", &root_hash.data_partuuid(), DISK_PATIENCE)?;
    let hash = partition::wait_for("store-verity", &root_hash.hash_partuuid(), DISK_PATIENCE)?;
    boot.disk = Some(Disk {
        data,
        hash,
        root_hash,
        fec: find_fec(boot),
    });
    Ok(())
}

/// The partition with the store's parity. A disk that has lost it is still as good as one without.
fn find_fec(boot: &Boot) -> Option<dm::FecDevice> {
    let fec = boot.fec.as_ref()?;
    match partition::wait_for("store-fec", &fec.partuuid, FEC_PATIENCE) {
        Ok(found) => Some(dm::FecDevice {
            device: found.device,
            roots: fec.roots,
            blocks: fec.blocks,
        }),
        Err(missing) => {
            boot.console
                .say(format_args!("{missing}: going on without error correction"));
            None
        }
    }
}

fn open_verity(boot: &mut Boot) -> Result<(), Error> {
    let Disk {
        data,
        hash,
        root_hash,
        fec,
    } = boot.disk()?;
    let device = hash.device.display().to_string();
    let mut bytes = [0; superblock::SIZE];
    fs::File::open(&hash.device)
        .and_then(|file| file.read_exact_at(&mut bytes, 0))
        .context("read", &device)?;
    let superblock = superblock::Superblock::parse(&bytes)
        .map_err(|source| Error::Superblock { device, source })?;
    let table = dm::Table::verity(
        &data.device,
        &hash.device,
        &superblock,
        *root_hash,
        fec.as_ref(),
    );
    let mapped = dm::create("store", &table)?;
    if fec.is_some() {
        let recheck = Recheck::new(&mapped, superblock.data_blocks);
        boot.fuse
            .set_recheck(recheck.context("open", mapped.display())?);
    }
    boot.mapped = Some(mapped);
    Ok(())
}

fn mount_store(boot: &mut Boot) -> Result<(), Error> {
    let mapped = boot.mapped.as_ref().ok_or(Error::Order("mapped device"))?;
    mounts::mount_store(mapped)?;
    let path = Path::new(paths::INITRAMFS_STORE).join(POD_JSON);
    let json = fs::read(&path).context("read", path.display())?;
    let contract = Contract::from_json(&json)?;
    boot.fuse.set_policy(contract.on_failure);
    boot.console.say(format_args!("Pod {}", contract.name));
    boot.contract = Some(contract);
    Ok(())
}

/// fw_cfg first: who started this machine put it there, and it costs nothing to look.
fn read_config(boot: &mut Boot) -> Result<(), Error> {
    if config::fw_cfg::is_out_of_reach() {
        boot.console.say(
            "configuration: QEMU's fw_cfg is out of reach: the base has no module qemu_fw_cfg",
        );
    }
    let found = match config::fw_cfg::find()? {
        Some(found) => Some(found),
        None => config::disk::find(&boot.disk()?.data.disk)?,
    };
    found.map_or(Ok(()), |found| use_config(boot, &found))
}

fn start_time(boot: &mut Boot) -> Result<(), Error> {
    let servers = boot.config.as_ref().map(|config| &config.time.servers);
    let servers = servers.into_iter().flatten();
    let servers = servers.map(|server| server.as_str().to_owned()).collect();
    let network = boot.network.as_ref().ok_or(Error::Order("network"))?;
    time::start(servers, network, &boot.console)?;
    if !has_entropy() {
        boot.console
            .say("entropy: the kernel has too little yet; what needs random numbers waits");
    }
    Ok(())
}

/// The kernel seeds itself: from the firmware (the EFI stub's seed), the CPU and virtio-rng.
fn has_entropy() -> bool {
    let mut byte = 0u8;
    // SAFETY: the buffer is valid for its one byte.
    unsafe { libc::getrandom((&raw mut byte).cast(), 1, libc::GRND_NONBLOCK) == 1 }
}

fn read_metadata(boot: &mut Boot) -> Result<(), Error> {
    let is_ec2 = config::imds::is_ec2();
    if is_ec2 && boot.config.is_none() {
        read_user_data(boot)?;
    }
    let places = kept_places(boot)?;
    if is_ec2 && !places.is_empty() {
        read_kept(boot, &places);
    } else {
        for (name, place) in places {
            boot.console.say(format_args!(
                "secret {name}: {place} can be read on EC2 alone"
            ));
        }
    }
    Ok(())
}

/// Where Amazon keeps what no document delivers; the document's places win over the Pod's.
fn kept_places(boot: &Boot) -> Result<BTreeMap<String, SecretPlace>, Error> {
    let mut places = secret_places(&boot.contract()?.annotations);
    if let Some(config) = &boot.config {
        places.extend(config.secrets_from.clone());
        places.retain(|name, _| !config.secrets.contains_key(name));
    }
    Ok(places)
}

/// One that cannot be read is missed by the containers that need it, and by no others.
fn read_kept(boot: &mut Boot, places: &BTreeMap<String, SecretPlace>) {
    let proxy = boot.config.as_ref().map(|config| config.proxy.clone());
    let Boot {
        console, secrets, ..
    } = boot;
    let told = |name: &str, outcome: Result<Secret, aws::Error>| match outcome {
        Ok(secret) => {
            let keys = config::keys(&secret);
            console.say(format_args!("secret {name}: from Amazon ({keys})"));
            secrets.insert(name.to_owned(), secret);
        }
        Err(error) => console.say(format_args!("secret {name}: {}", Chain(&error))),
    };
    if let Err(error) = aws::read(places, &proxy.unwrap_or_default(), told) {
        console.say(format_args!("secrets at Amazon: {}", Chain(&error)));
    }
}

/// The service may be turned off, or out of reach; then the Pod starts without.
fn read_user_data(boot: &mut Boot) -> Result<(), Error> {
    match config::imds::user_data() {
        Ok(None) => Ok(()),
        Ok(Some(found)) => {
            use_config(boot, &found)?;
            rename(boot)
        }
        Err(error) => {
            let error = Chain(&error);
            boot.console.say(format_args!(
                "configuration: EC2's user data: {error}; going on without"
            ));
            Ok(())
        }
    }
}

/// What comes over the network comes too late to set it up: the host name, name servers and search
/// domains can still change.
fn rename(boot: &mut Boot) -> Result<(), Error> {
    let (Some(config), Some(network)) = (&boot.config, &boot.network) else {
        return Ok(());
    };
    let hostname = boot.hostname()?;
    rustix::system::sethostname(hostname.as_bytes()).context("set the host name to", &hostname)?;
    let wanted = &config.network;
    if !wanted.addresses.is_empty() || !wanted.routes.is_empty() || wanted.mtu.is_some() {
        boot.console.say(
            "configuration: addresses, routes and mtu come too late from EC2's user data: ignored",
        );
    }
    Ok(network.replace(&hostname, wanted.clone())?)
}

fn use_config(boot: &mut Boot, found: &Found) -> Result<(), Error> {
    let Found { source, bytes, .. } = found;
    boot.config = config::read(found, boot.contract()?)?;
    match &boot.config {
        Some(config) => boot.console.say(format_args!(
            "configuration: from {source}, {} bytes; secrets: {}",
            bytes.len(),
            config::secrets_summary(config)
        )),
        None => boot.console.say(format_args!(
            "configuration: {source} is another program's, no {}: ignored",
            i2kit_contract::runtime::KIND
        )),
    }
    Ok(())
}

fn switch_root(_: &mut Boot) -> Result<(), Error> {
    Ok(mounts::switch_root()?)
}

fn start_network(boot: &mut Boot) -> Result<(), Error> {
    let hostname = boot.hostname()?;
    rustix::system::sethostname(hostname.as_bytes()).context("set the host name to", &hostname)?;
    let network = boot.config.as_ref().map(|config| config.network.clone());
    let names = boot.contract()?.names.clone();
    let network = Settings::new(&hostname, names, network.unwrap_or_default());
    network.write()?;
    iface::bring_up("lo")?;
    // What containerd grants every Pod: low ports and ping without privileges.
    for (path, value) in [
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
        ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ] {
        fs::write(path, value).context("write", path)?;
    }
    boot.lease_deadline = Some(Instant::now() + LEASE_PATIENCE);
    boot.lease = Some(setup::start(&network, &boot.console)?);
    boot.network = Some(network);
    Ok(())
}

fn set_kernel(boot: &mut Boot) -> Result<(), Error> {
    let contract = boot.contract()?;
    kernel::set(&contract.sysctls)?;
    Ok(kernel::reserve(&contract.huge_pages)?)
}

fn prepare_cgroup(boot: &mut Boot) -> Result<(), Error> {
    mounts::mount_late()?;
    cgroup::prepare()?;
    Ok(cgroup::limit_pod(&boot.contract()?.resources)?)
}

fn start_containerd(boot: &mut Boot) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start", "the event loop")?;
    let pid = daemon::spawn(&boot.console)?;
    boot.runtime = Some(runtime);
    boot.containerd = pid;
    Ok(())
}

fn mount_scratch(boot: &mut Boot) -> Result<(), Error> {
    let kind = scratch::mount(&boot.disk()?.data.disk, &boot.console)?;
    boot.console.say(format_args!("scratch: {kind}"));
    boot.scratch = kind;
    Ok(folders::prepare_pod()?)
}

fn make_volumes(boot: &mut Boot) -> Result<(), Error> {
    let contract = boot.contract()?;
    let mut secrets = values::baked(contract);
    values::deliver(&mut secrets, &boot.secrets);
    if let Some(config) = &boot.config {
        values::deliver(&mut secrets, &config.secrets);
    }
    let values = Values::new(secrets, total_memory())?;
    values.check(contract)?;
    volumes::prepare(contract, &values, &boot.console)?;
    boot.values = Some(Arc::new(values));
    Ok(())
}

fn connect(boot: &mut Boot) -> Result<(), Error> {
    let runtime = boot.runtime()?;
    let _entered = runtime.enter();
    // Whenever the runtime runs, it reaps all children: a step that waits for its own (a volume's
    // mkfs) must not let it run meanwhile.
    let events = Events::new(boot.console.clone(), boot.report.clone());
    let keeper = Keeper::new(
        boot.containerd,
        boot.console.clone(),
        events,
        boot.fuse.clone(),
    );
    requests::reap(keeper).context("handle", "SIGCHLD")?;
    let client = runtime.block_on(Client::connect(CONTAINERD_PATIENCE))?;
    boot.client = Some(client);
    Ok(())
}

fn await_lease(boot: &mut Boot) -> Result<(), Error> {
    let (Some(lease), Some(deadline)) = (boot.lease.take(), boot.lease_deadline) else {
        return Err(Error::Order("DHCP client"));
    };
    if lease
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .is_err()
    {
        boot.console
            .say("network: no lease yet; starting the Pod without");
    }
    Ok(())
}

fn run_pod(boot: &mut Boot) -> Result<(), Error> {
    let (console, summary) = (boot.console.clone(), boot.summary());
    let (begun, pod_begun) = (boot.begun, Instant::now());
    let memory = total_memory();
    let contract = boot.contract.take().ok_or(Error::Order("contract"))?;
    let process_namespace = match contract.process_namespace {
        ProcessNamespace::Pod => Some(namespace::start()?),
        ProcessNamespace::Container | ProcessNamespace::Guest => None,
    };
    let pod = Pod {
        registry: Registry::new(&contract),
        learner: learner(boot),
        contract,
        client: boot.client.take().ok_or(Error::Order("client"))?,
        console: boot.console.clone(),
        report: boot.report.clone(),
        memory,
        values: boot.values.take().ok_or(Error::Order("values"))?,
        config: boot.config.take(),
        process_namespace,
        logs: if boot.scratch == "tmpfs" {
            LOGS_IN_MEMORY
        } else {
            LOGS_ON_DISK
        },
        on_started: Box::new(move || {
            console.say(format_args!(
                "started in {} ms: {summary}, pod {} (ms)",
                begun.elapsed().as_millis(),
                pod_begun.elapsed().as_millis()
            ));
        }),
    };
    let runtime = boot.runtime.take().ok_or(Error::Order("runtime"))?;
    let requests = {
        let _entered = runtime.enter();
        requests::listen(&boot.console).context("listen to", "signals")?
    };
    let outcome = runtime.block_on(supervise::run(pod, requests));
    // Nobody waits for a probe or hook that is still on its way.
    runtime.shutdown_background();
    boot.outcome = Some(outcome);
    Ok(())
}

/// A VM that cannot learn still runs its Pod: the host sees that nothing was learned.
fn learner(boot: &Boot) -> Option<Learner> {
    boot.config.as_ref().filter(|config| config.learn)?;
    match Learner::start() {
        Ok(learner) => Some(learner),
        Err(error) => {
            boot.console
                .say(format_args!("learning: {}", Chain(&error)));
            None
        }
    }
}

/// The VM's memory in bytes.
fn total_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// Prints the table of steps.
///
/// # Errors
/// The output cannot be written.
pub fn print_steps(mut out: impl io::Write) -> io::Result<()> {
    STEPS
        .iter()
        .try_for_each(|step| writeln!(out, "{:<12}{}", step.name, step.purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_printed_and_names_are_unique() {
        let mut out = Vec::new();
        print_steps(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("extra       delete /.extra"), "{text}");
        let mut names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
