//! Fields that only a boot shows. The Pods test themselves: each check that fails is printed, and
//! makes the exit code 1.

use std::os::unix::fs::FileExt as _;

use super::{contains, open, pod};
use crate::support::vm::{Bench, Vm, exit_codes};

/// `is NAME GOT WANTED` and `ok NAME COMMAND…`, `no NAME COMMAND…`; the script's end is the exit.
const CHECKS: &str = "\
bad=0; miss() { echo \"FAILED $1\"; bad=1; }
is() { test \"$2\" = \"$3\" || miss \"$1: got <$2>, not <$3>\"; }
ok() { local what=\"$1\"; shift; \"$@\" >/dev/null 2>&1 || miss \"$what\"; }
no() { local what=\"$1\"; shift; ! \"$@\" >/dev/null 2>&1 || miss \"$what\"; }
";

fn script(checks: &str) -> String {
    format!("{CHECKS}{checks}\necho checked; exit $bad")
}

const DATA: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue, run.sh: \"echo ran\"}
binaryData: {raw: /wA=}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: hunter2, user: admin}
";

#[test]
fn values_volumes_and_security_are_the_manifests() {
    let bench = Bench::new();
    let values = script(
        r#"
is configmap "$COLOR" blue
is secret "$PASSWORD" hunter2
is envfrom "$DB_user" admin
is expanded "$URL" "http://admin@$IP"
is arg "$0" "shell of test"
ok ip sh -c "ip -4 addr | grep -q 'inet $IP/'"
is node "$NODE" box.sub.default.svc.cluster.local
is uid "${#UID_}" 36
is optional "${MISSING-unset}" unset
is cpu "$CPU" 2
ok memory test "$MEM" -gt 100
is file "$(cat /files/settings/color)" blue
is mode "$(stat -L -c %a /files/settings/color)" 440
is program "$(sh /files/settings/run.sh)" ran
is raw "$(od -An -tx1 /files/settings/raw | tr -d ' ')" ff00
is secretfile "$(cat /files/user)" admin
is secretmode "$(stat -c %a /files/user)" 440
is label "$(cat /files/labels)" 'tier="front"'
no readonly touch /files/x
is hosts "$(grep -c '^10.1.2.3.*alias' /etc/hosts)" 1
ok fqdn grep -q "$IP.box.sub.default.svc.cluster.local.box" /etc/hosts
ok search grep -q '^search.* x.example' /etc/resolv.conf
ok options grep -q '^options ndots:2' /etc/resolv.conf
is sysctl "$(cat /proc/sys/net/core/somaxconn)" 77
is hugepages "$(cat /proc/sys/vm/nr_hugepages)" 4
is hostname "$(hostname)" box.sub.default.svc.cluster.local
until test -e /scratch/done; do sleep 1; done
is shared "$(cat /scratch/done)" written
is subpath "$(cat /part/inner)" deep
no escape test -e /etc/passwd.link
ok image test -e /image/bin/busybox
no image-write touch /image/new
no image-program /image/bin/busybox true
ok image-part test -e /programs/busybox
ok huge-pages sh -c "grep -q ' /pages hugetlbfs' /proc/mounts"
no below touch /below/new
ok processes sh -c "ps | grep -v grep | grep -q 'sleep 4321'"
touch /scratch/seen
"#,
    );
    let strict = script(
        r#"
is caps "$(grep CapEff /proc/self/status | tr -d '\t')" CapEff:0000000000000000
is bounding "$(grep CapBnd /proc/self/status | tr -d '\t')" CapBnd:0000000000000400
is nnp "$(grep NoNewPrivs /proc/self/status | tr -d '\t')" NoNewPrivs:1
is seccomp "$(grep '^Seccomp:' /proc/self/status | tr -d '\t')" Seccomp:2
no root touch /new
no mount mount -t tmpfs x /mnt
is groups "$(id -G)" "1000 10 20 2000"
is owner "$(stat -c %g /scratch)" 20
ok inner sh -c 'mkdir -p /scratch/sub && echo deep > /scratch/sub/inner'
ok write sh -c 'echo written > /scratch/.new && mv /scratch/.new /scratch/done'
ok tmpfs sh -c "grep ' /memory tmpfs' /proc/mounts | grep -q size=1024k"
no full dd if=/dev/zero of=/memory/big bs=1k count=2000
"#,
    );
    let privileged = script(
        r#"
ok device test -b /dev/vda
ok mount sh -c 'mkdir -p /mnt && mount -t tmpfs x /mnt'
is caps "$(grep CapEff /proc/self/status | tr -d '\t')" CapEff:000001ffffffffff
ok hostpath test -x /host/containerd
no hostpath touch /host/new
is pod-memory "$(cat /pod/memory.max)" 314572800
is pod-cpu "$(cat /pod/cpu.max)" "150000 100000"
is unmasked "$(grep -c ' /proc/kcore ' /proc/mounts)" 0
"#,
    );
    let more_values = "\
env:
- {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
- {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
- {name: MISSING, valueFrom: {secretKeyRef: {name: nowhere, key: x, optional: true}}}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: UID_, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: URL, value: \"http://$(DB_user)@$(IP)\"}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: SUB, value: \"\"}
- {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
envFrom: [{prefix: DB_, secretRef: {name: db}}]
resources: {limits: {cpu: 1500m, hugepages-2Mi: 8Mi}}
volumeMounts:
- {name: files, mountPath: /files}
- {name: scratch, mountPath: /scratch}
- {name: scratch, mountPath: /part, subPathExpr: \"$(SUB)sub\"}
- {name: image, mountPath: /image}
- {name: image, mountPath: /programs, subPath: bin}
- {name: pages, mountPath: /pages}
- {name: scratch, mountPath: /below, readOnly: true, recursiveReadOnly: Enabled}";
    let more_strict = "\
securityContext:
  runAsUser: 1000
  runAsGroup: 1000
  runAsNonRoot: true
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  seccompProfile: {type: RuntimeDefault}
  capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
volumeMounts:
- {name: scratch, mountPath: /scratch}
- {name: memory, mountPath: /memory}";
    let more_privileged = "\
securityContext: {privileged: true}
volumeMounts:
- {name: host, mountPath: /host, readOnly: true}
- {name: cgroup, mountPath: /pod, readOnly: true}";
    let containers = [
        ("strict", more_strict, strict.as_str()),
        ("values", more_values, values.as_str()),
        ("root", more_privileged, privileged.as_str()),
        (
            "sleeper",
            "volumeMounts: [{name: scratch, mountPath: /scratch}]",
            "sleep 4321 & until test -e /scratch/seen; do sleep 1; done",
        ),
    ];
    let spec = "restartPolicy: Never
  hostname: box
  subdomain: sub
  setHostnameAsFQDN: true
  shareProcessNamespace: true
  resources: {limits: {memory: 300Mi, cpu: 1500m}}
  hostAliases: [{ip: 10.1.2.3, hostnames: [alias]}]
  dnsConfig: {searches: [x.example], options: [{name: ndots, value: \"2\"}]}
  securityContext: {fsGroup: 20, supplementalGroups: [10], sysctls: [{name: net.core.somaxconn, value: \"77\"}]}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: /usr/bin, type: Directory}}
  - {name: cgroup, hostPath: {path: /sys/fs/cgroup/pod, type: Directory}}
  - {name: image, image: {reference: tiny}}
  - {name: pages, emptyDir: {medium: HugePages}}
  - name: files
    projected:
      defaultMode: 0440
      sources:
      - configMap:
          name: settings
          items: [{key: color, path: settings/color}, {key: run.sh, path: settings/run.sh}, {key: raw, path: settings/raw}]
      - {secret: {name: db, items: [{key: user, path: user}]}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}";
    let manifest = pod(spec, &containers).replace(
        "metadata: {name: test}",
        "metadata: {name: test, labels: {tier: front}}",
    );
    // The last argument is `$0`, and shows that arguments are expanded, too.
    let manifest = manifest.replacen("exit $bad\"]", "exit $bad\", \"shell of $(NAME)\"]", 2);
    let disk = bench.build(
        &format!("{manifest}{DATA}"),
        "fields.raw",
        &["--bake-secrets"],
    );
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert!(!console.contains("FAILED"), "{console}");
    assert_eq!(code, 0, "{console}");
    let codes = exit_codes(&console);
    assert!(codes.iter().all(|(_, code)| *code == 0), "{console}");
    assert_eq!(console.matches("checked").count(), 3, "{console}");
    assert!(!console.contains("hunter2"));
}

/// First what is blank is formatted; what holds something else is left as it is.
#[test]
fn a_claim_formats_a_blank_disk_and_no_other() {
    let bench = Bench::new();
    let spec = "restartPolicy: Never\n  volumes: [{name: data, persistentVolumeClaim: {claimName: pgdata}}]";
    let mounts = "volumeMounts: [{name: data, mountPath: /data}]";
    let write = [(
        "a",
        mounts,
        "cat /data/kept; echo kept > /data/kept; sync; test -d /data/lost+found",
    )];
    let disk = bench.build(&pod(spec, &write), "claim.raw", &[]);
    let data = bench.path("data,1.img");
    std::fs::File::create(&data)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    let option = format!("pgdata={}", data.display());
    let (code, console) = Vm::boot(&disk, &["--data-disk", &option]).end();
    assert_eq!(code, 0, "{console}");
    contains(
        &console,
        &["volume claim pgdata: /dev/vdb is blank, formatting it"],
    );
    let label = crate::support::output_of(
        "blkid",
        &["-o", "value", "-s", "LABEL", data.to_str().unwrap()],
    );
    assert_eq!(label.trim(), "pgdata");
    // Something else than a file system of ours is left as it is.
    open(&data).write_all_at(&[b'x'; 1024], 1024).unwrap();
    let before = std::fs::read(&data).unwrap();
    let (code, console) = Vm::boot(&disk, &["--data-disk", &option]).end();
    assert_eq!(code, 70, "{console}");
    let reason =
        "volume data: /dev/vdb holds something that is no ext4 file system; it is left as it is";
    contains(&console, &[reason]);
    assert!(
        std::fs::read(&data).unwrap() == before,
        "the disk was written"
    );
}

/// A claim of a device is the disk itself; a volume that grows too large ends the Pod.
#[test]
fn a_device_is_written_and_too_large_a_volume_evicts() {
    let bench = Bench::new();
    let spec = "restartPolicy: Never
  volumes:
  - {name: raw, persistentVolumeClaim: {claimName: raw}}
  - {name: small, emptyDir: {sizeLimit: 1Mi}}";
    let more = "volumeDevices: [{name: raw, devicePath: /dev/raw}]
volumeMounts: [{name: small, mountPath: /small}]";
    let write = "test ! -e /dev/vda && echo written | dd of=/dev/raw bs=512 conv=sync,fsync && \
                 dd if=/dev/zero of=/small/big bs=1M count=3 && echo filled; trap 'exit 0' TERM; while true; do sleep 0.2; done";
    let disk = bench.build(&pod(spec, &[("a", more, write)]), "raw.raw", &[]);
    let data = bench.path("data.img");
    std::fs::File::create(&data)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let option = format!("raw={}", data.display());
    let (code, console) = Vm::boot(&disk, &["--data-disk", &option]).end();
    assert_eq!(code, 1, "{console}");
    contains(
        &console,
        &[
            "[a] filled",
            "i2kit: Warning Evicted pod: volume small holds 3",
            "error: run the Pod: Evicted",
        ],
    );
    assert!(std::fs::read(&data).unwrap().starts_with(b"written\n"));
}

#[test]
fn a_pod_does_not_start_without_its_secrets() {
    let bench = Bench::new();
    let more = "env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: password}}}]";
    let manifest = pod("restartPolicy: Never", &[("a", more, "echo ran")]);
    let disk = bench.build(&format!("{manifest}{DATA}"), "secret.raw", &[]);
    let bytes = std::fs::read(&disk).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    let reason = "step volumes failed: container a needs key password of Secret db, which nobody has delivered";
    contains(&console, &[reason]);
    assert!(!console.contains("[a] ran"), "{console}");
}
