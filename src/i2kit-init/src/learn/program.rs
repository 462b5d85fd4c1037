//! The two programs, instruction by instruction
//! (Documentation/bpf/standardization/instruction-set.rst): at each system call, and at each
//! question whether somebody has a capability, a key goes into the set: the container's cgroup, and
//! what it was.

use super::bpf::Instruction;

/// Set in a key's second word where it is a capability's number.
pub const CAPABILITY: u64 = 1 << 32;
/// The second word for a system call of a 32-bit program, whose numbers mean other calls.
pub const FOREIGN: u64 = 1 << 33;

/// Containers are at `/pod/NAME`.
const CONTAINER_LEVEL: i32 = 2;

/// Offsets in `struct pt_regs` (arch/x86/include/asm/ptrace.h).
const RCX: i16 = 0x58;
const RDX: i16 = 0x60;
const CS: i32 = 0x88;
/// `__USER_CS`: the code segment of 64-bit programs (arch/x86/include/asm/segment.h).
const USER_CS: i32 = 0x33;
/// `CAP_OPT_NOAUDIT` (include/linux/security.h): the kernel asks what it may do besides, and goes
/// on without if it may not.
const CAP_OPT_NOAUDIT: i32 = 2;

/// Helpers (`include/uapi/linux/bpf.h`).
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const GET_CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
const PROBE_READ_KERNEL: i32 = 113;

/// Registers: the result, arguments, two that survive calls, the frame.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R6: u8 = 6;
const R7: u8 = 7;
const FP: u8 = 10;

/// The frame: the key's two words, a value, room to read into.
const KEY: i32 = -16;
const KEY_CGROUP: i16 = -16;
const KEY_WHAT: i16 = -8;
const VALUE: i32 = -24;
const VALUE_WORD: i16 = -24;
const SCRATCH: i32 = -32;
const SCRATCH_WORD: i16 = -32;

const fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to | (from << 4),
        offset,
        immediate,
    }
}

/// `to = from`.
const fn copy(to: u8, from: u8) -> Instruction {
    op(0xbf, to, from, 0, 0)
}

/// `to = constant`.
const fn set(to: u8, constant: i32) -> Instruction {
    op(0xb7, to, 0, 0, constant)
}

/// `to += constant`.
const fn add(to: u8, constant: i32) -> Instruction {
    op(0x07, to, 0, 0, constant)
}

/// `to = *(u64 *)(from + offset)`.
const fn load(to: u8, from: u8, offset: i16) -> Instruction {
    op(0x79, to, from, offset, 0)
}

/// `*(u64 *)(to + offset) = from`.
const fn store(to: u8, offset: i16, from: u8) -> Instruction {
    op(0x7b, to, from, offset, 0)
}

/// `*(u64 *)(to + offset) = constant`.
const fn store_constant(to: u8, offset: i16, constant: i32) -> Instruction {
    op(0x7a, to, 0, offset, constant)
}

const fn call(helper: i32) -> Instruction {
    op(0x85, 0, 0, 0, helper)
}

const fn exit() -> Instruction {
    op(0x95, 0, 0, 0, 0)
}

/// `to = constant`, 64 bits, in two instructions.
const fn wide(to: u8, source: u8, constant: u64) -> [Instruction; 2] {
    let [a, b, c, d, e, f, g, h] = constant.to_le_bytes();
    [
        op(0x18, to, source, 0, i32::from_le_bytes([a, b, c, d])),
        op(0, 0, 0, 0, i32::from_le_bytes([e, f, g, h])),
    ]
}

/// `if register == constant, skip`.
const fn skip_if_equal(register: u8, constant: i32, skip: i16) -> Instruction {
    op(0x15, register, 0, skip, constant)
}

/// `if register != constant, skip`.
const fn skip_unless_equal(register: u8, constant: i32, skip: i16) -> Instruction {
    op(0x55, register, 0, skip, constant)
}

/// `if register & mask == 0, skip the exit that follows`; here: `if register & mask, skip`.
const fn skip_if_any(register: u8, mask: i32, skip: i16) -> Instruction {
    op(0x45, register, 0, skip, mask)
}

/// At the tracepoint `sys_enter(struct pt_regs *regs, long id)`.
pub fn system_calls(set_descriptor: i32) -> Vec<Instruction> {
    let mut code = vec![
        load(R7, R1, 8),
        load(R3, R1, 0),
        // Which kind of program calls.
        add(R3, CS),
        copy(R1, FP),
        add(R1, SCRATCH),
        store_constant(FP, SCRATCH_WORD, 0),
        set(R2, 8),
        call(PROBE_READ_KERNEL),
        load(R1, FP, SCRATCH_WORD),
        skip_if_equal(R1, USER_CS, 2),
    ];
    code.extend(wide(R7, 0, FOREIGN));
    code.extend(remember(set_descriptor));
    code
}

/// At `cap_capable(const struct cred *, struct user_namespace *, int cap, unsigned int opts)`.
pub fn capabilities(set_descriptor: i32) -> Vec<Instruction> {
    let mut code = vec![
        load(R7, R1, RDX),
        load(R6, R1, RCX),
        // An int: the register's upper half is anything.
        op(0xbc, R7, R7, 0, 0),
        op(0xbc, R6, R6, 0, 0),
    ];
    let rest = remember(set_descriptor);
    let marked = wide(R1, 0, CAPABILITY);
    let to_end = rest.len() + marked.len() + 1 - EXIT.len();
    code.push(skip_if_any(
        R6,
        CAP_OPT_NOAUDIT,
        i16::try_from(to_end).unwrap_or(i16::MAX),
    ));
    code.extend(marked);
    // r7 |= r1
    code.push(op(0x4f, R7, R1, 0, 0));
    code.extend(rest);
    code
}

const EXIT: [Instruction; 2] = [set(R0, 0), exit()];

/// Puts the key of this container and register 7 into the set, unless it is there.
fn remember(set_descriptor: i32) -> Vec<Instruction> {
    /// `BPF_PSEUDO_MAP_FD`, as the source of a wide constant.
    const MAP: u8 = 1;
    let map = |to| wide(to, MAP, u64::from(set_descriptor.unsigned_abs()));
    let update = [
        store_constant(FP, VALUE_WORD, 0),
        copy(R2, FP),
        add(R2, KEY),
        copy(R3, FP),
        add(R3, VALUE),
        set(R4, 0),
    ];
    let update: Vec<Instruction> = [
        map(R1).as_slice(),
        update.as_slice(),
        &[call(MAP_UPDATE_ELEM)],
    ]
    .concat();
    let lookup = [copy(R2, FP), add(R2, KEY), call(MAP_LOOKUP_ELEM)];
    let known = i16::try_from(update.len()).unwrap_or(i16::MAX);
    let look: Vec<Instruction> = [
        [store(FP, KEY_CGROUP, R0), store(FP, KEY_WHAT, R7)].as_slice(),
        map(R1).as_slice(),
        lookup.as_slice(),
        &[skip_unless_equal(R0, 0, known)],
        &update,
    ]
    .concat();
    let elsewhere = i16::try_from(look.len()).unwrap_or(i16::MAX);
    [
        [
            set(R1, CONTAINER_LEVEL),
            call(GET_CURRENT_ANCESTOR_CGROUP_ID),
            skip_if_equal(R0, 0, elsewhere),
        ]
        .as_slice(),
        &look,
        &EXIT,
    ]
    .concat()
}
