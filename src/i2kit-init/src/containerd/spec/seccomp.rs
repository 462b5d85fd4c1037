//! System call filters as the OCI runtime specification has them.

use i2kit_contract::Seccomp;
use serde_json::{Value, json};

/// What containerd 1.7 lets every container call (`contrib/seccomp`), with the calls of 32-bit
/// programs. `io_uring` is not among them since 2023.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat
    dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage
    getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr
    link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64
    madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
    mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl
    msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat _newselect open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
    process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32
    setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr
    shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync
    sync_file_range syncfs sysinfo
    tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64
    ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice
    wait4 waitid waitpid write writev arch_prctl modify_ldt
";

/// What a capability lets its holder call besides.
const WITH: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount \
         mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname \
         sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    (
        "CAP_SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET` together.
const NAMESPACES: u64 = 0x7e02_0000;
/// `AF_VSOCK`, by which a VM talks to its host.
const AF_VSOCK: u64 = 40;
/// What `personality(2)` may be asked: Linux, with addresses as in Linux 2.4 or without, and what
/// it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// `ENOSYS`, upon which the C library falls back to `clone`, whose flags a filter can see.
const ENOSYS: u32 = 38;

/// The filter for a container with these capabilities; `None` for no filter.
pub fn filter(profile: &Seccomp, capabilities: &[&str]) -> Option<Value> {
    match profile {
        Seccomp::Unconfined => None,
        Seccomp::Profile(filter) => Some(filter.clone()),
        Seccomp::RuntimeDefault => Some(runtime_default(capabilities)),
    }
}

fn runtime_default(capabilities: &[&str]) -> Value {
    let mut calls = vec![allow(&words(ALWAYS), &Value::Null)];
    for (capability, names) in WITH {
        if capabilities.contains(&capability) {
            calls.push(allow(&words(names), &Value::Null));
        }
    }
    calls.push(allow(
        &["socket"],
        &json!([argument(AF_VSOCK, "SCMP_CMP_NE")]),
    ));
    for one in PERSONALITIES {
        calls.push(allow(
            &["personality"],
            &json!([argument(one, "SCMP_CMP_EQ")]),
        ));
    }
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        let none_of = json!([argument(NAMESPACES, "SCMP_CMP_MASKED_EQ")]);
        calls.push(allow(&["clone"], &none_of));
        calls.push(json!({
            "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS,
        }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": calls,
    })
}

fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}

fn allow(names: &[&str], arguments: &Value) -> Value {
    let mut call = json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
    if let (false, Some(call)) = (arguments.is_null(), call.as_object_mut()) {
        call.insert("args".into(), arguments.clone());
    }
    call
}

/// A condition on the call's first argument; a mask is compared with 0.
fn argument(value: u64, op: &str) -> Value {
    json!({ "index": 0, "value": value, "valueTwo": 0, "op": op })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn allowed(capabilities: &[&str]) -> BTreeSet<String> {
        let filter = filter(&Seccomp::RuntimeDefault, capabilities).unwrap();
        let calls = filter["syscalls"].as_array().unwrap().clone();
        let free = calls.iter().filter(|call| call.get("args").is_none());
        free.filter(|call| call["action"] == "SCMP_ACT_ALLOW")
            .flat_map(|call| call["names"].as_array().unwrap().clone())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn capabilities_open_their_calls() {
        let plain = allowed(&[]);
        for name in ["read", "execve", "ptrace", "futex_waitv"] {
            assert!(plain.contains(name), "{name}");
        }
        for name in [
            "mount",
            "bpf",
            "io_uring_setup",
            "reboot",
            "clone",
            "keyctl",
            "unshare",
        ] {
            assert!(!plain.contains(name), "{name}");
        }
        let admin = allowed(&["CAP_SYS_ADMIN", "CAP_SYS_BOOT"]);
        for name in ["mount", "clone", "clone3", "reboot"] {
            assert!(admin.contains(name), "{name}");
        }
        assert!(filter(&Seccomp::Unconfined, &[]).is_none());
        let own = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        assert_eq!(filter(&Seccomp::Profile(own.clone()), &[]), Some(own));
    }

    #[test]
    fn no_call_is_named_twice() {
        let names = words(ALWAYS);
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
    }
}
