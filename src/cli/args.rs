//! The command line, as clap sees it.

mod cache;
mod cloud;
mod config;
mod control;
mod images;
mod papers;
mod push;
mod sign;
mod sources;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use i2kit_contract::FailurePolicy;

use crate::layer::{Compression, CompressionError};
use crate::oci::Platform;
use crate::run::{DataDisk, Forward};

pub use cache::{Cache, CacheCommand, Gc, Limit};
pub use cloud::{CloudArgs, CloudImages, Fetch, Ledger, Prune, RegionArgs, RegionsArgs};
pub use config::{ConfigArgs, SecretFile, Variable};
pub use control::{Exec, Logs, State};
pub use images::{ImageArgs, RegistryArgs};
pub use papers::{Base, BaseCommand, BaseImage, Outdated, Sbom, SbomFormat};
pub use push::{Check, Push};
pub use sign::{Enrol, Keys, KeysCommand, NewKeys, RsaBits, Sign, SignArgs};
pub use sources::{Bundle, Lock, Pull, Resolve, Wanted};
pub use verify::{Diff, Rebuild, Verify};

/// One Kubernetes Pod, one immutable virtual machine.
///
/// Flags may have defaults in a file i2kit.toml in the working directory: filename = ["app.yaml"],
/// or memory = "2GiB" in a table [run]. Flags that are given win.
///
/// Exit codes: 0 success; 1 something failed, or `cache verify` found damage; 2 wrong usage. `run`
/// answers with the Pod's exit code; 70 when the guest failed, 124 after --timeout, 125 when there was nothing to run.
#[derive(Debug, Parser)]
#[command(name = "i2kit", version, max_term_width = 100)]
pub struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a bootable disk from a Pod manifest or an image
    ///
    /// Example: i2kit build -f nginx.yaml --image nginx=oci:./nginx -o nginx.raw
    Build(Build),
    /// Show what a build's disk would be, without writing it
    ///
    /// With --against, tell how many slabs of 512 KiB it shares with an old disk at the same place,
    /// which an update need not send, and what the others are for:
    ///   i2kit plan -f app.yaml --against app.raw
    #[command(verbatim_doc_comment)]
    Plan(Plan),
    /// Boot a Pod, an image or a disk in a local virtual machine
    ///
    /// Ctrl-C presses the power button; twice ends the machine at once. Examples:
    ///   i2kit run -f nginx.yaml --image nginx=oci:./nginx -p 8080:80
    ///   i2kit run oci:./tiny -- echo hello
    ///   i2kit run nginx.raw
    #[command(verbatim_doc_comment)]
    Run(Run),
    /// Push a disk to Amazon: a snapshot and an AMI, from manifests, an image or a raw disk
    ///
    /// No file is written in between, and of an update only blocks of 512 KiB that differ are sent: the
    /// newest AMI of the same name tells which, by the hash tree on its disk. The same push again
    /// answers with the AMI that is there. What an interrupted push has begun is removed, or gone on
    /// with by the next one. Examples:
    ///   i2kit push -f app.yaml
    ///   i2kit push -f app.yaml --dry-run
    ///   i2kit push app.raw --region eu-central-1 --region us-east-1 --share 123456789012
    ///   i2kit push --print-iam-policy
    #[command(verbatim_doc_comment)]
    Push(Box<Push>),
    /// List the AMIs that i2kit has made: name, version, root hash, regions, age, size, cost a month
    ///
    /// The cost is the most that their snapshots can cost, at $0.05 for a GiB and month: one that was
    /// sent as what differs from another costs that only.
    Images(CloudImages),
    /// Remove old AMIs and their snapshots
    ///
    /// Only those that i2kit has made, none that an instance, a launch template, a launch
    /// configuration or an autoscaling group names, none that is protected; and none at all where it
    /// cannot be seen what is in use. What other accounts do with a shared AMI cannot be seen.
    ///   i2kit prune --keep 3 --older-than 30d --dry-run
    #[command(verbatim_doc_comment)]
    Prune(Prune),
    /// Download the disk of an AMI or a snapshot, each block checked by its hash tree
    ///
    /// Example: i2kit fetch ami-0123456789abcdef0 -o app.raw
    Fetch(Fetch),
    /// Show what interrupted pushes have left at Amazon
    ///
    /// The same push again goes on with it; i2kit push --abort removes it. Ledgers lie in
    /// $XDG_STATE_HOME/i2kit/ledger (default: ~/.local/state).
    Ledger(Ledger),
    /// Run a program in a container of a machine that runs here; answers its exit code
    ///
    /// Example: i2kit exec web -- cat /etc/os-release
    Exec(Exec),
    /// Print what a container of a machine that runs here has printed
    Logs(Logs),
    /// Show what the containers of a machine that runs here are doing
    Status(State),
    /// Fetch images and convert their layers into the cache
    ///
    /// Example: i2kit pull nginx:1.27 ghcr.io/example/app@sha256:…
    Pull(Pull),
    /// Show what image names stand for: digests, platform, layers, sizes
    Resolve(Resolve),
    /// Write down what a manifest's images are today, for builds that take exactly that
    ///
    /// Then: i2kit build --locked -f app.yaml -o app.raw
    Lock(Lock),
    /// Put everything that a build needs into one file, for a machine without a network
    ///
    /// There: i2kit build --bundle app.bundle.tar -o app.raw. The file is an OCI archive, which
    /// other tools read, too.
    Bundle(Bundle),
    /// Sign a disk's UKI for Secure Boot, or a statement of provenance
    ///
    /// The disk is then the one that i2kit build --sign-key writes. Where the key is out of reach:
    ///   i2kit sign disk.raw --digest-only | xxd -r -p >digest
    ///   openssl pkeyutl -sign -inkey db.key -pkeyopt digest:sha256 -in digest -out signature
    ///   i2kit sign disk.raw --attach signature --sign-cert db.crt
    /// It is the same for disk.raw.provenance.json, which is put into a DSSE envelope beside it.
    #[command(verbatim_doc_comment)]
    Sign(Sign),
    /// Make keys for Secure Boot, and have firmware trust them
    Keys(Keys),
    /// Check a disk: every structure, the UKI's signature, every block and file of its store
    ///
    /// The first thing that is wrong is named by partition, layer, file and block; exit code 1. A
    /// disk is checked against itself; against more with the key that signed it (and its provenance), the
    /// outputs record, the statement of how it was built, and what manifest and lock give (the flags are
    /// those of i2kit build):
    ///   i2kit verify disk.raw --key db.crt
    ///   i2kit verify disk.raw --record disk.raw.i2kit.json
    ///   i2kit verify disk.raw --key db.crt --provenance disk.raw.provenance.dsse.json
    ///   i2kit verify disk.raw --locked -f app.yaml
    /// An AMI or a snapshot may stand for a disk: it is downloaded, and compared with its tags, too.
    ///   i2kit verify ami-0123456789abcdef0 --record disk.raw.i2kit.json
    #[command(verbatim_doc_comment)]
    Verify(Verify),
    /// Tell the first difference between two disks, by partition, file and byte
    ///
    /// What causes others is told before what follows from it: a file's byte before the hash tree's and
    /// the command line's. The exit code is 1 when there is one. Of two AMIs or snapshots only blocks
    /// that differ are read.
    Diff(Diff),
    /// Build a disk again from its record alone, and compare
    ///
    /// The record is the one beside a disk (disk.raw.i2kit.json) or a disk itself. It says all that a
    /// build needs: manifests, digests of images and base, options, the UKI's signature. Layers come
    /// from the cache or from where the images' names point; --image NAME=SOURCE and --base say where
    /// else. Nothing is written without -o.
    ///   i2kit rebuild --record app.raw.i2kit.json
    #[command(verbatim_doc_comment)]
    Rebuild(Rebuild),
    /// Show what is on a disk: partitions, UKI, command line, contract, layers
    Inspect(Inspect),
    /// List files on a disk, as in: i2kit ls disk.raw:store/containers/web
    Ls(Ls),
    /// Print which packages a disk consists of, as the bill of materials in its store says
    ///
    /// Example: i2kit sbom app.raw > app.spdx.json
    Sbom(Sbom),
    /// Show what the base image is made of, and whether a mirror has newer packages
    Base(Base),
    /// Look at what builds keep, check it, and make it smaller
    ///
    /// Builds keep converted layers in a cache folder, so that the next one is quick. It is safe to
    /// remove any of it, at any time, or all of it: what is missing is made again. Each build holds
    /// what it uses until its disk is written, and then removes what was used longest ago until the
    /// cache is under its limit (--cache-max-size).
    ///
    /// Several processes, users and versions of i2kit may share a folder. Whoever may write in it
    /// can change what others build from it: share it with those you trust.
    #[command(verbatim_doc_comment)]
    Cache(Cache),
    /// Tell what becomes of a manifest's fields
    ///
    /// Each is honoured, noted (accepted, and changes nothing), accepted with some values, or
    /// refused. Examples:
    ///   i2kit explain spec.volumes
    ///   i2kit explain --json | jq -r '.[] | select(.fate == "refused").field'
    #[command(verbatim_doc_comment)]
    Explain(Explain),
    /// Print manifests in their long form, as YAML
    ///
    /// Short ones (i2kit explain --short) become what they stand for; comments are lost.
    ConvertManifest {
        /// A manifest; - reads standard input
        #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a shell's completion script
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write every command's
    Man {
        /// The folder to write i2kit.1, i2kit-build.1, … into
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// `i2kit explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A field's path, the start of one, or its name: all fields, when not given
    #[arg(conflicts_with = "short")]
    pub field: Option<String>,
    /// Print a list of objects as JSON
    #[arg(long, conflicts_with = "short")]
    pub json: bool,
    /// Tell the short form of a manifest
    #[arg(long)]
    pub short: bool,
}

/// Which manifests.
#[derive(Clone, Debug, Default, Args)]
pub struct FileArgs {
    /// A manifest (a Pod, a workload with one, what it takes from; YAML or JSON); - reads standard
    /// input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which Pod, when the manifests hold several
    #[arg(long)]
    pub name: Option<String>,
}

/// What is kept, and where.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// Where converted layers are kept (default: $XDG_CACHE_HOME/i2kit)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// After the build, remove from the cache what was used longest ago until it takes no more
    /// than this: SIZE or none (default: 20 GiB, at most a quarter of the file system)
    #[arg(long, value_name = "SIZE", value_parser = cache::limit)]
    pub cache_max_size: Option<Limit>,
    /// Also keep layers as they were compressed, so that converting them again fetches nothing
    #[arg(long)]
    pub keep_blobs: bool,
    /// Take converted layers from here where they can be trusted: a repository (HOST/NAME) or
    /// oci:DIR
    #[arg(long, value_name = "REF")]
    pub cache_from: Vec<String>,
    /// Put converted layers here for others
    #[arg(long, value_name = "REF")]
    pub cache_to: Option<String>,
    /// An Ed25519 key in PEM: a private one signs what --cache-to puts, and either kind lets
    /// --cache-from take what it signed; without one, only what the lock names is taken
    #[arg(long, value_name = "FILE")]
    pub cache_key: Option<PathBuf>,
    /// Layers fetched and converted at once (default: the number of processors)
    #[arg(short, long)]
    pub jobs: Option<usize>,
    /// Uncompressed bytes that a layer may have, as in 64GiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64GiB")]
    pub max_layer_size: u64,
    /// How the store's files are compressed: none, lz4 or zstd, with a level and the bytes that are
    /// compressed together, as in zstd:9,cluster=1M; or best
    ///
    /// Levels: lz4 1 to 12, zstd 1 to 22. Clusters: 4K to 1M, of zstd to 4M. Larger ones make smaller disks and
    /// slower reads of a few bytes; a level costs time when a layer is converted, which happens once.
    /// With ,dedupe equal clusters of a layer are stored once. best is zstd:10,cluster=4M,dedupe.
    #[arg(long, value_name = "HOW", default_value_t)]
    pub compression: CompressionArg,
}

/// `--compression`.
#[derive(Clone, Copy, Debug)]
pub struct CompressionArg(pub Option<Compression>);

impl Default for CompressionArg {
    fn default() -> Self {
        Self(Some(Compression::DEFAULT))
    }
}

impl fmt::Display for CompressionArg {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => formatter.write_str("none"),
            Some(compression) => compression.fmt(formatter),
        }
    }
}

impl FromStr for CompressionArg {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Compression::parse(text).map(Self)
    }
}

/// What is shown of the work.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ProgressArgs {
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub progress: ProgressMode,
}

impl ProgressArgs {
    /// True where nothing but errors, or nothing but events, belongs on standard error.
    pub fn is_silent(self) -> bool {
        self.quiet || matches!(self.progress, ProgressMode::Json | ProgressMode::None)
    }
}

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// A line for what is done.
    Plain,
    /// An event in JSON on each line of standard error.
    Json,
    /// Nothing.
    None,
}

/// What is added to the guest's own system.
#[derive(Clone, Debug, Default, Args)]
pub struct ExtensionArgs {
    /// An image whose files are laid over the guest's own system (system/ in the store), as an agent
    /// or firmware; may be repeated, later ones on top. A bundle brings its own along
    #[arg(long = "extension", value_name = "IMAGE")]
    pub extensions: Vec<String>,
}

/// Where the Pod and its images come from.
#[derive(Clone, Debug, Default, Args)]
pub struct PodArgs {
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// Whose drivers the disk carries
    #[arg(
        long,
        value_name = "TARGET",
        value_delimiter = ',',
        default_value = "virtio,ec2"
    )]
    pub target: Vec<String>,
    /// A kernel module to load besides the targets', with what it needs, as in virtio_net: any that
    /// the base image carries; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    pub modules: Vec<String>,
    /// A word for the kernel's command line, as in mitigations=off; may be repeated, and stands
    /// before i2kit's own
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub kernel_args: Vec<String>,
    /// A number that grows with each version of this image: what the UKI's os-release calls
    /// IMAGE_VERSION, so that a signature covers it; see i2kit verify --min-version
    #[arg(long, value_name = "N")]
    pub image_version: Option<u64>,
    /// What is added to the guest's own system.
    #[command(flatten)]
    pub extensions: ExtensionArgs,
    /// Add a partition from which the guest repairs blocks of the store that have gone bad: so many
    /// parity bytes for each 255 (2 to 24; 2 takes 0.8 % of the store)
    #[arg(
        long,
        value_name = "ROOTS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u8).range(2..=24)
    )]
    pub fec: Option<u8>,
    /// Put the values of the manifests' Secrets into the disk, readable to whoever has it; without,
    /// they must be delivered at run time
    #[arg(long)]
    pub bake_secrets: bool,
    /// The folder of the manifests' own seccomp profiles (type Localhost), as a kubelet has one
    #[arg(long, value_name = "DIR")]
    pub seccomp_profiles: Option<PathBuf>,
    /// Take from each container the capabilities and system calls that it was not seen to need
    /// (i2kit run --learn); what its securityContext says stays
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// What the guest does when it cannot go on
    #[arg(long, value_enum, default_value_t)]
    pub on_failure: OnFailure,
    /// Let whoever runs the machine locally ask its guest (i2kit exec, logs and status); off, a
    /// guest listens to nobody
    #[arg(long)]
    pub control: bool,
    /// What the images are for
    #[arg(long, value_name = "PLATFORM", value_parser = platform, default_value = "linux/amd64")]
    pub platform: Platform,
    /// Where images come from.
    #[command(flatten)]
    pub images: ImageArgs,
    /// Where they are kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Where the store's layers lie, and what of them.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaceArgs {
    /// Keep layers where OLD has them, a raw disk or the record beside one, so that an update changes
    /// few slabs
    ///
    /// A layer that both have keeps its place in the store, and a partition its start while it fits.
    /// Each other layer takes the smallest hole that is large enough, or goes behind the last. Holes
    /// are zeros. When more than a third of the layers' room would be holes, all layers are placed
    /// anew, and nothing of OLD is kept but partitions' starts.
    #[arg(long, value_name = "OLD")]
    pub place_like: Option<PathBuf>,
    /// Leave out data of files that layers above deleted or replaced
    ///
    /// The store becomes smaller and the build slower: a layer with such data is hashed anew, and
    /// shares fewer slabs with disks that have other data of it. Compressed small files are stored
    /// many together, and leave only when all of those are deleted or replaced.
    #[arg(long)]
    pub compact: bool,
}

/// What is on a disk.
#[derive(Debug, Args)]
pub struct DiskArgs {
    /// Where the Pod comes from.
    #[command(flatten)]
    pub pod: PodArgs,
    /// Build from an image without a manifest
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["files", "bundle"])]
    pub from: Option<String>,
    /// Room for the guest's scratch partition: SIZE or none
    #[arg(long, value_name = "SIZE", value_parser = scratch, default_value = "none")]
    pub scratch: u64,
    /// Where the store's layers lie.
    #[command(flatten)]
    pub place: PlaceArgs,
}

impl DiskArgs {
    /// Whether something says which Pod is meant.
    pub fn names_a_pod(&self) -> bool {
        let (pod, from) = (&self.pod, &self.from);
        from.is_some() || !pod.files.files.is_empty() || pod.images.bundle.is_some()
    }
}

/// `i2kit plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What is on the disk.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// What signs the UKI.
    #[command(flatten)]
    pub sign: SignArgs,
    /// Compare it, slab by slab, with a disk or the record beside one
    #[arg(long, value_name = "OLD")]
    pub against: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit build`.
#[derive(Debug, Args)]
pub struct Build {
    /// What is on the disk.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// What signs the UKI.
    #[command(flatten)]
    pub sign: SignArgs,
    /// The disk to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Also write how the disk was built beside it, as FILE.provenance.json: an in-toto statement with
    /// SLSA provenance about the disk's SHA-256, for which the whole disk is read once more; what signs
    /// the UKI signs it, too, in a DSSE envelope FILE.provenance.dsse.json
    #[arg(long)]
    pub provenance: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit run`.
#[derive(Debug, Args)]
pub struct Run {
    /// A disk, or an image to run without a manifest
    #[arg(
        value_name = "DISK|IMAGE",
        conflicts_with_all = ["files", "bundle"],
        required_unless_present_any = ["files", "bundle"]
    )]
    pub what: Option<String>,
    /// Arguments for the image instead of its own
    #[arg(last = true, requires = "what")]
    pub args: Vec<String>,
    /// Where the Pod comes from.
    #[command(flatten)]
    pub pod: PodArgs,
    /// Forward a port: [HOSTIP:]HOST:CONTAINER[/udp]; HOST 0 takes a free one (default: every
    /// containerPort, from the same port where it is free)
    #[arg(short, long = "publish", value_name = "PORTS", value_parser = forward)]
    pub publish: Vec<Forward>,
    /// Memory of the machine, as in 1GiB
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    pub memory: u64,
    /// Processors of the machine
    #[arg(long, default_value_t = crate::run::Options::DEFAULT_CPUS, value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: u32,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// How the guest sees its disk
    #[arg(long, value_enum, default_value_t)]
    pub disk_bus: Bus,
    /// A raw image as the disk of a volume claim; the guest formats it when it is blank, and what
    /// it writes stays. May be repeated
    #[arg(long = "data-disk", value_name = "CLAIM=FILE", value_parser = data_disk)]
    pub data_disks: Vec<DataDisk>,
    /// Boot with Secure Boot, trusting what this variable store says (i2kit keys enrol --ovmf)
    #[arg(long, value_name = "FILE")]
    pub uefi_vars: Option<PathBuf>,
    /// Have QEMU start the kernel of the disk's UKI, without UEFI firmware: quicker and possible in
    /// 128MiB, but nothing checks signatures and nothing is measured
    #[arg(long, conflicts_with = "uefi_vars")]
    pub direct_boot: bool,
    /// What the machine runs on
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,
    /// Room for the guest's scratch partition: SIZE or none
    #[arg(long, value_name = "SIZE", value_parser = scratch, default_value = "4GiB")]
    pub scratch: u64,
    /// The name by which exec, logs and status find the machine, when its disk was built with
    /// --control (default: its Pod's)
    #[arg(long, value_name = "NAME")]
    pub vm: Option<String>,
    /// Draw when each stage of the boot and each container began and ended, as SVG
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write what capabilities and system calls each container uses to this profile, or add it;
    /// for i2kit build --profile
    #[arg(long, value_name = "FILE")]
    pub learn: Option<PathBuf>,
    /// What the Pod is told at run time.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `i2kit inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The disk
    pub disk: PathBuf,
    /// Also check every block of the store against its hash tree
    #[arg(long)]
    pub verify: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// DISK[:store[/PATH]]
    #[arg(value_name = "DISK:PATH")]
    pub path: String,
    /// List folders' contents too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `--on-failure`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum OnFailure {
    /// Power off.
    #[default]
    PowerOff,
    /// Reboot.
    Reboot,
}

impl OnFailure {
    /// As a contract has it.
    pub fn policy(self) -> FailurePolicy {
        match self {
            Self::PowerOff => FailurePolicy::PowerOff,
            Self::Reboot => FailurePolicy::Reboot,
        }
    }

    /// From a contract.
    pub fn of(policy: FailurePolicy) -> Self {
        match policy {
            FailurePolicy::PowerOff => Self::PowerOff,
            FailurePolicy::Reboot => Self::Reboot,
        }
    }
}

/// `--disk-bus`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Bus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// NVMe.
    Nvme,
    /// virtio-scsi.
    Scsi,
}

/// `--accel`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Accel {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    /// The kernel's virtualisation.
    Kvm,
    /// QEMU's translator, many times slower.
    Tcg,
}

fn forward(text: &str) -> Result<Forward, String> {
    Forward::parse(text).map_err(|error| error.to_string())
}

fn data_disk(text: &str) -> Result<DataDisk, String> {
    let (claim, file) = text.split_once('=').ok_or("not CLAIM=FILE")?;
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if claim.is_empty() || !claim.bytes().all(letters) {
        return Err(format!("{claim:?} is no claim's name"));
    }
    let file = PathBuf::from(file);
    if !file.is_file() {
        return Err(format!("{}: no such file", file.display()));
    }
    let claim = claim.to_owned();
    Ok(DataDisk { claim, file })
}

fn platform(text: &str) -> Result<Platform, String> {
    text.parse()
        .map_err(|error: crate::oci::PlatformError| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text
        .parse()
        .map_err(|_| "not a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

fn memory(text: &str) -> Result<u64, String> {
    let least = crate::run::Loader::Direct.least_memory_mib();
    match size(text)? >> 20 {
        mib if mib < u64::from(least) => Err(format!("a machine needs {least}MiB at least")),
        mib => Ok(mib << 20),
    }
}

fn scratch(text: &str) -> Result<u64, String> {
    let bytes = if text == "none" { 0 } else { size(text)? };
    if 0 < bytes && bytes < i2kit_contract::SCRATCH_LEAST_BYTES {
        return Err("less than 64MiB is no use to the guest; none leaves it out".to_owned());
    }
    Ok(bytes)
}

/// A number of bytes with an optional unit: K, M, G, T (powers of 1024), or KiB … and kB ….
fn size(text: &str) -> Result<u64, String> {
    const BAD: &str = "not a size such as 512MiB";
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| BAD)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" | "Ki" => 1 << 10,
        "M" | "MiB" | "Mi" => 1 << 20,
        "G" | "GiB" | "Gi" => 1 << 30,
        "T" | "TiB" | "Ti" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(BAD.to_owned()),
    };
    number.checked_mul(factor).ok_or_else(|| BAD.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(scratch("none"), Ok(0));
        assert_eq!(scratch("64MiB"), Ok(64 << 20));
        assert!(scratch("63MiB").is_err());
        assert_eq!(memory("128MiB"), Ok(128 << 20));
        assert!(memory("127MiB").is_err());
        for bad in ["", "x", "1X", "-1", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
