//! Tables of the kinds that make Pods from a template, besides the Deployment.

use super::Fate::Noted;
use super::{Fate, ROLLOUT, SCHEDULING, Schema};

/// `DaemonSetSpec`.
pub const DAEMON_SET_SPEC: Schema = Schema {
    name: "DaemonSetSpec",
    honoured: &["selector", "template"],
    special: &[
        ("minReadySeconds", ROLLOUT),
        ("revisionHistoryLimit", ROLLOUT),
        ("updateStrategy", ROLLOUT),
    ],
};

/// `ReplicaSetSpec`.
pub const REPLICA_SET_SPEC: Schema = Schema {
    name: "ReplicaSetSpec",
    honoured: &["replicas", "selector", "template"],
    special: &[("minReadySeconds", ROLLOUT)],
};

/// `StatefulSetSpec`.
pub const STATEFUL_SET_SPEC: Schema = Schema {
    name: "StatefulSetSpec",
    honoured: &["replicas", "selector", "template", "volumeClaimTemplates"],
    special: &[
        ("ordinals", ROLLOUT),
        ("minReadySeconds", ROLLOUT),
        ("persistentVolumeClaimRetentionPolicy", ROLLOUT),
        ("podManagementPolicy", ROLLOUT),
        ("revisionHistoryLimit", ROLLOUT),
        ("serviceName", ROLLOUT),
        ("updateStrategy", ROLLOUT),
    ],
};

/// A Job's own count of runs.
const RUNS: Fate = Noted("the VM runs the Pod once; what comes after is for who runs the VM");

/// `JobSpec`.
pub const JOB_SPEC: Schema = Schema {
    name: "JobSpec",
    honoured: &["activeDeadlineSeconds", "template"],
    special: &[
        ("podFailurePolicy", RUNS),
        ("scheduling", SCHEDULING),
        ("successPolicy", RUNS),
        ("suspend", RUNS),
        ("backoffLimit", RUNS),
        ("backoffLimitPerIndex", RUNS),
        ("completionMode", RUNS),
        ("completions", RUNS),
        ("managedBy", RUNS),
        ("manualSelector", RUNS),
        ("maxFailedIndexes", RUNS),
        ("parallelism", RUNS),
        ("podReplacementPolicy", RUNS),
        ("selector", RUNS),
        ("ttlSecondsAfterFinished", RUNS),
    ],
};
