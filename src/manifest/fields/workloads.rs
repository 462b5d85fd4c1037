//! Tables of the kinds that make Pods from a template, besides the Deployment, and of the Service.

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

/// Why a Service's ports of nodes are refused.
pub const NO_NODES: &str = "needs nodes of a cluster; a VM's ports are its own";
/// Who leads to a VM is decided when it runs.
const OUTSIDE: Fate = Noted("no part of the VM; i2kit run -p leads to its ports");

/// `Service`.
pub const SERVICE: Schema = Schema {
    name: "Service",
    honoured: &["apiVersion", "kind", "metadata"],
    special: &[("spec", OUTSIDE), ("status", super::SERVER)],
};

/// `ServiceSpec`.
pub const SERVICE_SPEC: Schema = Schema {
    name: "ServiceSpec",
    honoured: &[],
    special: &[
        ("allocateLoadBalancerNodePorts", OUTSIDE),
        ("clusterIP", OUTSIDE),
        ("clusterIPs", OUTSIDE),
        ("externalIPs", OUTSIDE),
        ("externalName", OUTSIDE),
        ("externalTrafficPolicy", OUTSIDE),
        ("healthCheckNodePort", Fate::Refused(NO_NODES)),
        ("internalTrafficPolicy", OUTSIDE),
        ("ipFamilies", OUTSIDE),
        ("ipFamilyPolicy", OUTSIDE),
        ("loadBalancerClass", OUTSIDE),
        ("loadBalancerIP", OUTSIDE),
        ("loadBalancerSourceRanges", OUTSIDE),
        ("ports", OUTSIDE),
        ("publishNotReadyAddresses", OUTSIDE),
        ("selector", OUTSIDE),
        ("sessionAffinity", OUTSIDE),
        ("sessionAffinityConfig", OUTSIDE),
        ("trafficDistribution", OUTSIDE),
        ("type", OUTSIDE),
    ],
};

/// `ServicePort`.
pub const SERVICE_PORT: Schema = Schema {
    name: "ServicePort",
    honoured: &[],
    special: &[
        ("appProtocol", OUTSIDE),
        ("name", OUTSIDE),
        ("nodePort", Fate::Refused(NO_NODES)),
        ("port", OUTSIDE),
        ("protocol", OUTSIDE),
        ("targetPort", OUTSIDE),
    ],
};
