//! cgroup v2: `/system` for containerd and its shims, `/pod/NAME` for each container.

use std::{
    fs,
    path::{Path, PathBuf},
};

use i2kit_contract::Resources;

use crate::{
    fault::{Context, Fault},
    paths,
};

/// Period of `cpu.max` in microseconds, and the least quota the kernel takes.
pub const CPU_PERIOD: u64 = 100_000;
const LEAST_CPU_QUOTA: u64 = 1_000;

/// Controllers that containers get, where the kernel has them.
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/// Makes the two branches and enables the controllers in them.
///
/// # Errors
/// cgroup v2 is not mounted or lacks a controller that limits need.
pub fn prepare() -> Result<(), Fault> {
    let root = Path::new(paths::CGROUP);
    enable(root)?;
    for branch in ["system", "pod"] {
        let folder = root.join(branch);
        fs::create_dir_all(&folder).context("create cgroup", folder.display())?;
    }
    enable(&root.join("pod"))?;
    limit_processes(&root.join("pod/pids.max"))
}

/// Limits all containers together (`spec.resources`). No request counts: nobody else wants the
/// VM's processors.
///
/// # Errors
/// The kernel lacks the controller, or does not take the value.
pub fn limit_pod(resources: &Resources) -> Result<(), Fault> {
    let set = |name: &str, value: String| {
        let file = Path::new(paths::CGROUP).join("pod").join(name);
        fs::write(&file, value).context("write", file.display())
    };
    if let Some(bytes) = resources.memory_bytes {
        set("memory.max", bytes.to_string())?;
    }
    match resources.cpu_millis {
        Some(millis) => set("cpu.max", cpu_max(millis)),
        None => Ok(()),
    }
}

/// Quota and period in microseconds.
fn cpu_max(millis: u64) -> String {
    format!("{} {CPU_PERIOD}", cpu_quota(millis))
}

/// Microseconds of each period, at least what the kernel takes.
pub fn cpu_quota(millis: u64) -> u64 {
    millis
        .saturating_mul(CPU_PERIOD / 1000)
        .max(LEAST_CPU_QUOTA)
}

/// Leaves process numbers to PID 1, containerd and its shims, whatever the Pod's containers do.
fn limit_processes(file: &Path) -> Result<(), Fault> {
    let read = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let least = limits.into_iter().filter_map(read).min();
    match least.filter(|_| file.exists()) {
        Some(least) => {
            fs::write(file, pod_share(least).to_string()).context("write", file.display())
        }
        None => Ok(()),
    }
}

/// How many of the kernel's processes the Pod gets: its threads-max takes an eighth of the memory for
/// their stacks alone.
fn pod_share(all: u64) -> u64 {
    all / 2
}

fn enable(group: &Path) -> Result<(), Fault> {
    let list = group.join("cgroup.controllers");
    let available = fs::read_to_string(&list).context("read", list.display())?;
    let file = group.join("cgroup.subtree_control");
    fs::write(&file, wanted(&available)).context("enable controllers in", file.display())
}

fn wanted(available: &str) -> String {
    let names: Vec<String> = available
        .split_ascii_whitespace()
        .filter(|name| CONTROLLERS.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    names.join(" ")
}

/// Moves a process to `/system`.
///
/// # Errors
/// The process is gone.
pub fn move_to_system(pid: u32) -> Result<(), Fault> {
    let file = Path::new(paths::CGROUP).join("system/cgroup.procs");
    fs::write(&file, pid.to_string()).context("write", file.display())
}

/// The path of a container's cgroup as runc takes it, relative to the mount.
pub fn container_path(name: &str) -> String {
    format!("/pod/{name}")
}

/// What a container uses, as the kernel counts it (cgroup-v2.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// `cpu.stat`, `usage_usec`.
    pub cpu_micros: u64,
    /// `memory.current`, bytes.
    pub memory: u64,
    /// The same without `inactive_file` of `memory.stat`, bytes.
    pub working_set: u64,
    /// `pids.current`.
    pub tasks: u64,
    /// `memory.events`, `oom_kill`.
    pub oom_kills: u64,
}

/// What a container uses now; none when it does not run.
pub fn usage(name: &str) -> Option<Usage> {
    let read = |file: &str| fs::read_to_string(container_folder(name).join(file)).ok();
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    let memory = number("memory.current")?;
    let inactive = read("memory.stat").map_or(0, |text| counter(&text, "inactive_file"));
    Some(Usage {
        cpu_micros: counter(&read("cpu.stat")?, "usage_usec"),
        memory,
        working_set: memory.saturating_sub(inactive),
        tasks: number("pids.current").unwrap_or(0),
        oom_kills: oom_kills(name),
    })
}

/// The folder of a container's cgroup.
pub fn container_folder(name: &str) -> PathBuf {
    Path::new(paths::CGROUP).join("pod").join(name)
}

/// How many processes of the container the kernel has killed for want of memory.
pub fn oom_kills(name: &str) -> u64 {
    let events = container_folder(name).join("memory.events");
    fs::read_to_string(events).map_or(0, |text| counter(&text, "oom_kill"))
}

fn counter(events: &str, key: &str) -> u64 {
    events
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_controllers_are_enabled() {
        assert_eq!(
            wanted("cpuset cpu io memory hugetlb pids rdma misc\n"),
            "+cpuset +cpu +io +memory +hugetlb +pids"
        );
        assert_eq!(wanted(""), "");
    }

    #[test]
    fn the_pod_never_gets_all_processes() {
        assert_eq!([32_768, 1000].map(pod_share), [16_384, 500]);
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(counter(events, "oom_kill"), 2);
        assert_eq!(counter(events, "oom_k"), 0);
    }
}
