//! Where things lie in the running guest. The system root is read-only EROFS, so only the empty
//! folders that the base brings can be mounted on: `dev proc sys run tmp var`.

/// The store while the initramfs is still the root.
pub const INITRAMFS_STORE: &str = "/i2kit-store";
/// The next root while the initramfs is still the root.
pub const INITRAMFS_ROOT: &str = "/i2kit-root";
/// tmpfs.
pub const RUN: &str = "/run";
/// The store's root, after the switch of root.
pub const STORE: &str = "/run/i2kit/store";
/// Generated `hosts`, `hostname` and `resolv.conf`, which containers see at `/etc`.
pub const ETC: &str = "/run/i2kit/etc";
/// The fifos that carry the containers' output.
pub const STDIO: &str = "/run/i2kit/stdio";
/// Scratch: the partition of that name or a bounded tmpfs.
pub const VAR: &str = "/var";
/// Writable layers, one folder per container.
pub const UPPERS: &str = "/var/lib/i2kit/containers";
/// `emptyDir` volumes.
pub const VOLUMES: &str = "/var/lib/i2kit/volumes";
/// Volumes in memory, and where data disks are mounted.
pub const RUN_VOLUMES: &str = "/run/i2kit/volumes";
/// Parts of volumes that containers see, one folder per container.
pub const SUB_PATHS: &str = "/run/i2kit/sub-paths";
/// The Pod's uid.
pub const POD_UID: &str = "/var/lib/i2kit/uid";
/// What is about to be deleted.
pub const TRASH: &str = "/var/lib/i2kit/trash";
/// The containers' output.
pub const LOGS: &str = "/var/log/containers";
/// cgroup v2.
pub const CGROUP: &str = "/sys/fs/cgroup";
