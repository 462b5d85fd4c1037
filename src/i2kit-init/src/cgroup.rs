//! cgroup v2: `/system` for containerd and its shims, `/pod/NAME` for each container.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    fault::{Context, Fault},
    paths,
};

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
    enable(&root.join("pod"))
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

/// How many processes of the container the kernel has killed for want of memory.
pub fn oom_kills(name: &str) -> u64 {
    let events: PathBuf = Path::new(paths::CGROUP)
        .join("pod")
        .join(name)
        .join("memory.events");
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
    fn counters_are_found_by_their_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(counter(events, "oom_kill"), 2);
        assert_eq!(counter(events, "oom_k"), 0);
    }
}
