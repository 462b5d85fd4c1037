//! Fixed names: where things lie in the store and the base image, and how the two halves find
//! each other at boot.

/// The contract, in the store's root.
pub const POD_JSON: &str = "pod.json";
/// The inputs record, in the store's root.
pub const INPUTS_JSON: &str = "inputs.json";
/// The bill of materials in SPDX 2.3, in the store's root.
pub const SBOM_SPDX_JSON: &str = "sbom.spdx.json";
/// The bill of materials in CycloneDX 1.6, in the store's root.
pub const SBOM_CYCLONEDX_JSON: &str = "sbom.cdx.json";
/// containerd, runc and their libraries, in the store: the guest's root after the switch.
pub const SYSTEM: &str = "system";
/// One merged root per container lies below this folder of the store.
pub const CONTAINERS: &str = "containers";
/// One merged root per image volume lies below this folder of the store.
pub const IMAGE_VOLUMES: &str = "volumes";

/// In the initramfs: the modules to load before anything else, one absolute path per line,
/// dependencies first.
pub const MODULES_LIST: &str = "etc/i2kit/modules";

/// Kernel command line: dm-verity root hash of the store, 64 hex digits (Discoverable
/// Partitions: the store's PARTUUID is its first 128 bits, the verity partition's its last).
pub const CMDLINE_ROOT_HASH: &str = "roothash";
/// Kernel command line: what PID 1 does on failure, before it can read the contract:
/// `i2kit.on_failure=power-off` (default) or `reboot`.
pub const CMDLINE_ON_FAILURE: &str = "i2kit.on_failure";

/// Kernel command line: error correction of the store, `i2kit.fec=PARTUUID:ROOTS:BLOCKS`: the
/// partition that holds the parity, and dm-verity's `fec_roots` and `fec_blocks`.
pub const CMDLINE_FEC: &str = "i2kit.fec";

/// TCP port where the guest tells the Pod's state over HTTP; the kubelet's health port.
pub const STATE_PORT: u16 = 10248;

/// Name of the virtio-serial port on which the guest writes status lines.
pub const STATUS_PORT: &str = "org.i2kit.status";

/// Partition labels.
pub const LABEL_ESP: &str = "esp";
/// See [`LABEL_ESP`].
pub const LABEL_STORE: &str = "store";
/// See [`LABEL_ESP`].
pub const LABEL_STORE_VERITY: &str = "store-verity";
/// See [`LABEL_ESP`]; there with `--fec` only.
pub const LABEL_STORE_FEC: &str = "store-fec";
/// Made by the guest on first boot in the room after the image.
pub const LABEL_SCRATCH: &str = "scratch";
/// Less room than this is not worth a journal: the guest leaves it alone.
pub const SCRATCH_LEAST_BYTES: u64 = 64 << 20;
/// Partition type of the scratch partition: Discoverable Partitions' generic Linux data.
pub const SCRATCH_TYPE_GUID: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
