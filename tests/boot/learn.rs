//! Test: what a container was seen to need is what it may do afterwards, and no more.

use super::{contains, pod};
use crate::support::vm::{Bench, Vm, exit_codes};

/// Does more when told to: a call, and a capability, that were not learned.
const SCRIPT: &str = "touch /f; chown 7:7 /f || exit 20; \
    test -z \"$MORE\" && exit 0; \
    grep CapBnd /proc/self/status; \
    mkfifo /p && exit 21; \
    chown 8:8 /f || exit 22; \
    echo still here; exit 23";

#[test]
fn what_was_not_learned_is_refused_afterwards() {
    let bench = Bench::new();
    let spec =
        "restartPolicy: Never\n  initContainers: [{name: first, image: tiny, command: [\"true\"]}]";
    let manifest = pod(spec, &[("main", "", SCRIPT)]);
    let profile = bench.path("caps.yaml").display().to_string();
    let disk = bench.build(&manifest, "open.raw", &["--scratch", "none"]);
    let (code, console) = Vm::boot(&disk, &["--learn", &profile]).end();
    assert_eq!(code, 0, "{console}");
    let text = std::fs::read_to_string(&profile).unwrap();
    // runc's own preparation is no part of it.
    contains(
        &text,
        &["pod: test", "  first:", "    - CHOWN\n", "    - execve\n"],
    );
    assert!(
        !text.contains("MKNOD") && !text.contains("mknod") && !text.contains("mount"),
        "{text}"
    );

    let disk = bench.build(
        &manifest,
        "closed.raw",
        &["--scratch", "none", "--profile", &profile],
    );
    let (code, console) = Vm::boot(&disk, &["--set", "main/MORE=1"]).end();
    assert_eq!(code, 23, "{text}\n{console}");
    assert_eq!(exit_codes(&console), [("main".to_owned(), 23)]);
    contains(
        &console,
        &[
            // CAP_CHOWN is bit 0.
            "[main] CapBnd:\t0000000000000001",
            "[main] mkfifo: /p: Operation not permitted",
            "[main] still here",
        ],
    );
}
