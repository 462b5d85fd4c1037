//! What containers use, learned while they run: system calls and capabilities, counted by two BPF
//! programs per container's cgroup. Nothing a container does keeps it from being seen; what it
//! starts, exec probes and hooks are seen as its own.

use std::{collections::BTreeSet, fs, io, os::fd::OwnedFd, os::unix::fs::MetadataExt};

use i2kit_contract::{ALL_CAPABILITIES, Learned};

use crate::{
    cgroup,
    fault::{Context, Fault},
};

mod bpf;
mod program;

use bpf::{KeySet, Program, ProgramType};

/// Keys in the set: some 50 containers with 300 kinds of calls each.
const MOST_KEYS: u32 = 16 << 10;

/// Learns as long as it lives.
pub struct Learner {
    keys: KeySet,
    /// While these are open the programs run.
    _attached: [OwnedFd; 2],
}

impl Learner {
    /// Begins. What runs already is seen from now on.
    ///
    /// # Errors
    /// The kernel lacks BPF, kprobes or the tracepoint.
    pub fn start() -> Result<Self, Fault> {
        let keys = KeySet::new(MOST_KEYS).context("create", "a BPF map")?;
        let set = keys.descriptor();
        let load = |kind, code: &[_], name| {
            Program::load(kind, code).context("load the BPF program for", name)
        };
        let calls = load(
            ProgramType::RawTracepoint,
            &program::system_calls(set),
            "system calls",
        )?;
        let capabilities = load(
            ProgramType::Kprobe,
            &program::capabilities(set),
            "capabilities",
        )?;
        let attached = [
            calls
                .at_tracepoint(c"sys_enter")
                .context("attach to the tracepoint", "sys_enter")?,
            capabilities
                .at_function(c"cap_capable")
                .context("attach to the function", "cap_capable")?,
        ];
        Ok(Self {
            keys,
            _attached: attached,
        })
    }

    /// What a container has used since it was started or forgotten; none when it has no cgroup: it
    /// does not run.
    ///
    /// # Errors
    /// The kernel does not give it.
    pub fn learned(&self, container: &str) -> Result<Option<Learned>, Fault> {
        let Some(cgroup) = cgroup_of(container)? else {
            return Ok(None);
        };
        let keys = self.keys.keys().context("read", "a BPF map")?;
        Ok(Some(of(cgroup, &keys, container)))
    }

    /// Forgets what was done in a container so far.
    ///
    /// # Errors
    /// The kernel does not take it away.
    pub fn forget(&self, container: &str) -> Result<(), Fault> {
        let Some(cgroup) = cgroup_of(container)? else {
            return Ok(());
        };
        let keys = self.keys.keys().context("read", "a BPF map")?;
        let mut own = keys.iter().filter(|[id, _]| *id == cgroup);
        own.try_for_each(|key| self.keys.remove(key))
            .context("shorten", "a BPF map")
    }
}

/// A cgroup's number, its folder's inode number (kernfs of 64-bit kernels).
fn cgroup_of(container: &str) -> Result<Option<u64>, Fault> {
    let folder = cgroup::container_folder(container);
    match fs::metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => Ok(Some(
            found.context("find the cgroup", folder.display())?.ino(),
        )),
    }
}

/// The keys of one cgroup in words.
fn of(cgroup: u64, keys: &[[u64; 2]], container: &str) -> Learned {
    let own = keys.iter().filter(|[id, _]| *id == cgroup);
    let what: BTreeSet<u64> = own.map(|[_, what]| *what).collect();
    let capability = |what: &u64| {
        let number = what.checked_sub(program::CAPABILITY)?;
        ALL_CAPABILITIES.get(usize::try_from(number).ok()?).copied()
    };
    Learned {
        container: container.to_owned(),
        system_calls: what
            .iter()
            .filter_map(|what| u32::try_from(*what).ok())
            .collect(),
        capabilities: what
            .iter()
            .filter_map(capability)
            .map(str::to_owned)
            .collect(),
        has_foreign_calls: what.contains(&program::FOREIGN),
        is_complete: u32::try_from(keys.len()).is_ok_and(|length| length < MOST_KEYS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_cgroup_and_kind() {
        let keys = [
            [7, 0],
            [7, 59],
            [8, 1],
            [7, program::CAPABILITY],
            [7, program::CAPABILITY | 21],
            [7, program::CAPABILITY | 99],
            [7, program::FOREIGN],
        ];
        let learned = of(7, &keys, "web");
        assert_eq!(learned.system_calls, [0, 59]);
        assert_eq!(learned.capabilities, ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        assert!(learned.has_foreign_calls && learned.is_complete);
        assert!(!of(8, &keys, "api").has_foreign_calls);
        let full = vec![[8, 1]; MOST_KEYS as usize];
        assert!(!of(8, &full, "api").is_complete);
    }
}
