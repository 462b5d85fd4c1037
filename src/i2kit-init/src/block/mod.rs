//! Block devices: partitions found in sysfs, and the partition table of the boot disk.

pub mod gpt;
pub mod partition;
