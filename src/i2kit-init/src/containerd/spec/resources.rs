//! cgroup v2 settings.

use i2kit_contract::{HugePages, Resources};
use serde_json::{Value, json};

use crate::cgroup::{CPU_PERIOD, cpu_quota};

/// The limits as the OCI runtime specification has them, with rules for devices.
pub fn resources(resources: &Resources, devices: &[Value]) -> Value {
    let mut value = json!({
        "devices": devices,
        "cpu": { "shares": cpu_shares(resources.cpu_request_millis) },
    });
    if let (Some(millis), Some(cpu)) = (
        resources.cpu_millis,
        value.get_mut("cpu").and_then(Value::as_object_mut),
    ) {
        cpu.insert("period".into(), CPU_PERIOD.into());
        cpu.insert("quota".into(), cpu_quota(millis).into());
    }
    if let (Some(bytes), Some(value)) = (resources.memory_bytes, value.as_object_mut()) {
        // `swap` is memory plus swap: equal values allow none. One process killed for want of
        // memory takes its container with it, as the kubelet sets since 1.28.
        value.insert("memory".into(), json!({ "limit": bytes, "swap": bytes }));
        value.insert("unified".into(), json!({ "memory.oom.group": "1" }));
    }
    let pages = &resources.huge_pages;
    if let (false, Some(value)) = (pages.is_empty(), value.as_object_mut()) {
        let limits: Vec<Value> = pages.iter().map(huge_pages).collect();
        value.insert("hugepageLimits".into(), limits.into());
    }
    value
}

fn huge_pages(pages: &HugePages) -> Value {
    json!({ "pageSize": page_size(pages.page_bytes), "limit": pages.bytes })
}

/// As the kernel's cgroup files have it: `2MB`, `1GB`.
fn page_size(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{}MB", bytes >> 20),
        gigabytes => format!("{gigabytes}GB"),
    }
}

/// The kubelet's `MilliCPUToShares`; runc turns shares into `cpu.weight`.
fn cpu_shares(millis: Option<u64>) -> u64 {
    let shares = millis.unwrap_or(0).saturating_mul(1024) / 1000;
    shares.clamp(2, 262_144)
}

/// The kubelet's `GetContainerOOMScoreAdjust` for the best-effort and burstable classes: who may
/// use more memory than was asked for goes first.
pub fn oom_score_adj(resources: &Resources, memory: u64) -> u64 {
    match resources.memory_request_bytes.or(resources.memory_bytes) {
        None if is_best_effort(resources) => 1000,
        bytes => {
            let thousandths = bytes.unwrap_or(0).saturating_mul(1000) / memory.max(1);
            1000u64.saturating_sub(thousandths).clamp(2, 999)
        }
    }
}

/// The kubelet's class of those who ask for neither CPU nor memory.
fn is_best_effort(resources: &Resources) -> bool {
    let cpu = resources.cpu_millis.or(resources.cpu_request_millis);
    let memory = resources.memory_bytes.or(resources.memory_request_bytes);
    cpu.or(memory).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_quota_and_scores_have_the_kubelets_bounds() {
        assert_eq!(
            [None, Some(1), Some(1000), Some(u64::MAX)].map(cpu_shares),
            [2, 2, 1024, 262_144]
        );
        let mut limits = Resources {
            cpu_millis: Some(1),
            ..Resources::default()
        };
        assert_eq!(resources(&limits, &[])["cpu"]["quota"], 1_000);
        assert_eq!([2 << 20, 1 << 30].map(page_size), ["2MB", "1GB"]);
        assert_eq!(oom_score_adj(&limits, 1 << 30), 999);
        limits.memory_bytes = Some(1 << 40);
        assert_eq!(oom_score_adj(&limits, 1 << 30), 2);
        assert_eq!(oom_score_adj(&Resources::default(), 1 << 30), 1000);
    }
}
