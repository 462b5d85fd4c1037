//! What kind of processor this is.

/// Whether QEMU emulates the processor (TCG) rather than letting the guest run on a real one.
#[cfg(target_arch = "x86_64")]
pub fn is_emulated() -> bool {
    use std::arch::x86_64::__cpuid;
    // Hypervisors answer this leaf with their name, QEMU's emulator too; a real processor, which has
    // no such leaf, answers with its last one's numbers (Intel's manual, volume 2, CPUID).
    let name = __cpuid(0x4000_0000);
    [name.ebx, name.ecx, name.edx]
        .map(u32::to_le_bytes)
        .concat()
        == *b"TCGTCGTCGTCG"
}

/// Of other architectures nothing is known.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_emulated() -> bool {
    false
}
