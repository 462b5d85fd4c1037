//! What a container, or the Pod, may take of the VM.

use serde::{Deserialize, Serialize};

/// cgroup v2 limits of a container or of the whole Pod, and what else is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `memory.max`, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// `cpu.max` in thousandths of a CPU (the kubelet's milliCPU): quota = milli * 100 µs in a
    /// period of 100 ms, at least 1 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// `cpu.weight`'s source: the request (or limit) in thousandths of a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request_millis: Option<u64>,
    /// The memory request in bytes, which the OOM score follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_request_bytes: Option<u64>,
    /// Bytes of the writable layer and the log: the Pod is evicted when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_bytes: Option<u64>,
    /// `hugetlb.SIZE.max`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub huge_pages: Vec<HugePages>,
}

/// Huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HugePages {
    /// Bytes of one page, a power of two.
    pub page_bytes: u64,
    /// Bytes of all of them, a multiple of `page_bytes`.
    pub bytes: u64,
}

impl Resources {
    /// True when no limit is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
