//! The system call filter of a container whose calls were learned.

use serde_json::{Value, json};

/// What runc itself calls between the filter's installation and the program's start, and what its
/// Go run-time or a C library may call at any time, learned or not: signals, timers, memory, threads.
const RUNTIME: [&str; 44] = [
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_nanosleep",
    "clone",
    "close",
    "close_range",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit",
    "exit_group",
    "faccessat2",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getpid",
    "getppid",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "prctl",
    "read",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "setgid",
    "setgroups",
    "setuid",
    "sigaltstack",
    "tgkill",
    "write",
];
/// `ENOSYS`, upon which C libraries fall back to an older call.
const ENOSYS: u32 = 38;
/// Calls that C libraries try first.
const NEWER: [&str; 5] = ["clone3", "fchmodat2", "openat2", "rseq", "statx"];

/// `linux.seccomp` of the OCI runtime specification: the calls of this list and no other. 32-bit
/// programs cannot make any.
pub(super) fn filter(calls: &[String]) -> Value {
    let mut allowed: Vec<&str> = calls.iter().map(String::as_str).chain(RUNTIME).collect();
    allowed.sort_unstable();
    allowed.dedup();
    let is_refused = |call: &&&str| !allowed.contains(call);
    let newer: Vec<&str> = NEWER.iter().filter(is_refused).copied().collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            { "names": allowed, "action": "SCMP_ACT_ALLOW" },
            { "names": newer, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_calls_and_the_runtimes_are_allowed_and_no_other() {
        let filter = filter(&["statx".into(), "mount".into()]);
        let names = |index: usize| {
            filter["syscalls"][index]["names"]
                .as_array()
                .unwrap()
                .clone()
        };
        assert_eq!(names(0).len(), RUNTIME.len() + 2);
        assert!(names(0).contains(&json!("mount")) && !names(0).contains(&json!("umount2")));
        assert!(!names(1).contains(&json!("statx")) && names(1).contains(&json!("clone3")));
        assert!(RUNTIME.is_sorted());
    }
}
