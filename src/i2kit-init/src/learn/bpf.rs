//! bpf(2) and perf_event_open(2) (`include/uapi/linux/bpf.h`, `perf_event.h`), as far as two small
//! programs and their map need.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

const BPF_MAP_CREATE: u32 = 0;
const BPF_MAP_DELETE_ELEM: u32 = 3;
const BPF_MAP_GET_NEXT_KEY: u32 = 4;
const BPF_PROG_LOAD: u32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: u32 = 17;
const BPF_MAP_TYPE_HASH: u32 = 1;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `sizeof(struct perf_event_attr)`, version 1: up to `config2`.
const PERF_ATTR_SIZE_VER1: u32 = 72;
/// Type of the PMU that makes kprobes (Documentation/ABI/testing/sysfs-bus-event_source-devices-*).
const KPROBE_TYPE: &str = "/sys/bus/event_source/devices/kprobe/type";
/// What the kernel calls GPL-compatible (`include/linux/license.h`); the helpers ask for it.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// `BPF_PROG_TYPE_*`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum ProgramType {
    /// Runs at a kprobe; its context is `struct pt_regs`.
    Kprobe = 2,
    /// Runs at a tracepoint; its context is the tracepoint's arguments.
    RawTracepoint = 17,
}

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the others.
    pub registers: u8,
    /// Signed offset.
    pub offset: i16,
    /// Signed constant.
    pub immediate: i32,
}

/// `union bpf_attr` for BPF_MAP_CREATE.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// `union bpf_attr` for BPF_MAP_GET_NEXT_KEY and BPF_MAP_DELETE_ELEM.
#[repr(C)]
struct MapKey {
    map_fd: u32,
    padding: u32,
    key: u64,
    next_key: u64,
}

/// `union bpf_attr` for BPF_PROG_LOAD, up to `log_buf`.
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// `union bpf_attr` for BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// `struct perf_event_attr`, version 1.
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>().addr() as u64
}

/// Calls bpf(2).
///
/// # Safety
/// `attribute` is what `command` takes, and the addresses in it are of memory that lives and is
/// as long as the command expects.
unsafe fn call<T>(command: u32, attribute: &T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the caller's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            libc::c_ulong::from(command),
            std::ptr::from_ref(attribute),
            size,
        )
    };
    number(result)
}

fn number(result: libc::c_long) -> io::Result<i32> {
    match i32::try_from(result) {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes over a descriptor that the kernel has just made.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: it is open, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn raw(descriptor: &OwnedFd) -> u32 {
    // Open descriptors are not negative.
    descriptor.as_raw_fd().unsigned_abs()
}

/// A set of keys, each two words, that programs fill.
#[derive(Debug)]
pub struct KeySet(OwnedFd);

impl KeySet {
    /// An empty one; each key has a value of 8 bytes, which nobody reads.
    ///
    /// # Errors
    /// The kernel has no BPF, or refuses it.
    pub fn new(max_entries: u32) -> io::Result<Self> {
        let attribute = MapCreate {
            map_type: BPF_MAP_TYPE_HASH,
            key_size: 16,
            value_size: 8,
            max_entries,
        };
        // SAFETY: no address in it.
        unsafe { call(BPF_MAP_CREATE, &attribute) }.map(|map| Self(owned(map)))
    }

    /// For programs.
    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// All keys, in any order. Keys that come meanwhile may be missed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn keys(&self) -> io::Result<Vec<[u64; 2]>> {
        let mut keys = Vec::new();
        let mut last: Option<[u64; 2]> = None;
        loop {
            let mut next = [0u64; 2];
            let attribute = MapKey {
                map_fd: raw(&self.0),
                padding: 0,
                key: last.as_ref().map_or(0, address),
                next_key: (&raw mut next).addr() as u64,
            };
            // SAFETY: both keys have the map's 16 bytes; no address is that of the first key.
            match unsafe { call(BPF_MAP_GET_NEXT_KEY, &attribute) } {
                Ok(_) => keys.push(next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(error),
            }
            last = Some(next);
        }
    }

    /// Takes one away; it need not be there any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&self, key: &[u64; 2]) -> io::Result<()> {
        let attribute = MapKey {
            map_fd: raw(&self.0),
            padding: 0,
            key: address(key),
            next_key: 0,
        };
        // SAFETY: the key has the map's 16 bytes.
        match unsafe { call(BPF_MAP_DELETE_ELEM, &attribute) } {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A program that the kernel has verified.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Loads it.
    ///
    /// # Errors
    /// The kernel's verifier refuses it, or the kernel has no BPF. The verifier's last words are
    /// part of the error.
    pub fn load(kind: ProgramType, instructions: &[Instruction]) -> io::Result<Self> {
        let mut log = vec![0u8; 64 << 10];
        let attribute = ProgramLoad {
            prog_type: kind as u32,
            insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
            insns: address(instructions),
            license: address(LICENSE),
            log_level: 1,
            log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
            log_buf: log.as_mut_ptr().addr() as u64,
        };
        // SAFETY: instructions, licence and log live, and their lengths are told.
        let loaded = unsafe { call(BPF_PROG_LOAD, &attribute) };
        loaded.map(|program| Self(owned(program))).map_err(|error| {
            let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
            let said = String::from_utf8_lossy(said);
            let words: Vec<&str> = said.lines().rev().take(3).collect();
            match words.is_empty() {
                true => error,
                false => io::Error::new(error.kind(), format!("{error}: {}", words.join("; "))),
            }
        })
    }

    /// Runs it at a tracepoint for as long as what is answered stays open.
    ///
    /// # Errors
    /// There is no such tracepoint.
    pub fn at_tracepoint(&self, name: &CStr) -> io::Result<OwnedFd> {
        let attribute = RawTracepointOpen {
            name: address(name),
            prog_fd: raw(&self.0),
            padding: 0,
        };
        // SAFETY: the name lives and ends with a zero.
        unsafe { call(BPF_RAW_TRACEPOINT_OPEN, &attribute) }.map(owned)
    }

    /// Runs it at a kernel function's entry for as long as what is answered stays open.
    ///
    /// # Errors
    /// The kernel has no kprobes, or no such function that can be probed.
    pub fn at_function(&self, name: &CStr) -> io::Result<OwnedFd> {
        let kind = fs::read_to_string(KPROBE_TYPE)?;
        let event = PerfEvent {
            kind: kind.trim().parse().map_err(io::Error::other)?,
            size: PERF_ATTR_SIZE_VER1,
            config1: address(name),
            ..PerfEvent::default()
        };
        let everyone: libc::pid_t = -1;
        let no_group: libc::c_int = -1;
        // SAFETY: the attribute and the name in it live; its size is told.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const event,
                everyone,
                0 as libc::c_int,
                no_group,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        let event = number(opened).map(owned)?;
        for (request, argument) in [
            (PERF_EVENT_IOC_SET_BPF, self.0.as_raw_fd()),
            (PERF_EVENT_IOC_ENABLE, 0),
        ] {
            // SAFETY: these take a number.
            let result = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
            number(result.into())?;
        }
        Ok(event)
    }
}
