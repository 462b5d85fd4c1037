//! A container's life: restarts, probes, lifecycle hooks, terminal, last words.

use i2kit_contract::{
    ExitCodeOperator, Hook, Life, MessagePolicy, Port, RestartPolicy, RestartRule,
    TerminationMessage,
};

use super::decode::{Field, Fields, Report};
use super::fields::{Fate, Schema};
use super::probe::{self, Kind};
use super::signals::parse_signal;
use super::spec::{RESTART_POLICIES, absolute, one_of};

/// `Lifecycle`.
pub const LIFECYCLE: Schema = Schema {
    name: "Lifecycle",
    honoured: &["postStart", "preStop", "stopSignal"],
    special: &[],
};

/// `LifecycleHandler`.
pub const HANDLER: Schema = Schema {
    name: "LifecycleHandler",
    honoured: &["exec", "httpGet", "sleep", "tcpSocket"],
    special: &[],
};

/// `SleepAction`.
pub const SLEEP: Schema = Schema {
    name: "SleepAction",
    honoured: &["seconds"],
    special: &[],
};

/// `ContainerRestartRule`.
pub const RESTART_RULE: Schema = Schema {
    name: "ContainerRestartRule",
    honoured: &["exitCodes"],
    special: &[("action", Fate::Only(&["Restart"]))],
};

/// `ContainerRestartRuleOnExitCodes`.
pub const EXIT_CODES: Schema = Schema {
    name: "ContainerRestartRuleOnExitCodes",
    honoured: &["operator", "values"],
    special: &[],
};

/// Most rules of a container, and most codes of a rule (`ValidateContainerRestartRules`).
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// Where in the Pod a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In `initContainers`.
    Init,
    /// In `containers`.
    Main,
}

/// All that a container says of its life, and its `lifecycle.stopSignal`. `grace` is the Pod's
/// grace period, which no hook may sleep longer than.
pub fn life(
    report: &mut Report,
    container: &Fields<'_>,
    role: Role,
    ports: &[Port],
    grace: u32,
) -> (Life, Option<u8>) {
    let restart_policy = one_of(report, container, "restartPolicy", &RESTART_POLICIES);
    let is_sidecar = role == Role::Init && restart_policy == Some(RestartPolicy::Always);
    if role == Role::Init && !is_sidecar {
        refuse_watchers(report, container);
    }
    let hooks = hooks(report, container, ports, grace);
    let mut probe = |kind| probe::probe(report, container, kind, ports);
    let (liveness_probe, readiness_probe, startup_probe) = (
        probe(Kind::Liveness),
        probe(Kind::Readiness),
        probe(Kind::Startup),
    );
    let life = Life {
        restart_policy,
        restart_rules: restart_rules(report, container, restart_policy, is_sidecar),
        liveness_probe,
        readiness_probe,
        startup_probe,
        post_start: hooks.post_start,
        pre_stop: hooks.pre_stop,
        termination_message: termination_message(report, container),
        stdin: flag(report, container, "stdin"),
        tty: flag(report, container, "tty"),
    };
    if flag(report, container, "stdinOnce")
        && let Some(field) = container.get("stdinOnce")
    {
        let message = format!("{}: changes nothing, nobody attaches here", field.path);
        report.note(field.position(), message);
    }
    (life, hooks.stop_signal)
}

fn flag(report: &mut Report, fields: &Fields<'_>, name: &str) -> bool {
    let field = fields.get(name);
    field.and_then(|f| f.boolean(report)).unwrap_or_default()
}

/// An init container that ends by itself is neither watched nor stopped.
fn refuse_watchers(report: &mut Report, container: &Fields<'_>) {
    for name in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        if let Some(field) = container.get(name) {
            let reason = "an init container has none, unless its restartPolicy is Always";
            field.refuse(report, reason);
        }
    }
}

fn restart_rules(
    report: &mut Report,
    container: &Fields<'_>,
    policy: Option<RestartPolicy>,
    is_sidecar: bool,
) -> Vec<RestartRule> {
    let Some(field) = container.get("restartPolicyRules") else {
        return Vec::new();
    };
    let items = field.items(report);
    if policy.is_none() && !items.is_empty() {
        field.refuse(report, "needs a restartPolicy besides");
    } else if is_sidecar && !items.is_empty() {
        field.refuse(report, "a sidecar has none: it always starts again");
    } else if items.len() > MOST_RULES {
        field.refuse(report, format!("more than {MOST_RULES} rules"));
    }
    items
        .iter()
        .filter_map(|item| restart_rule(report, item))
        .collect()
}

fn restart_rule(report: &mut Report, item: &Field<'_>) -> Option<RestartRule> {
    let fields = item.fields(report, &RESTART_RULE)?;
    fields.require(report, "action");
    let codes = fields.require(report, "exitCodes")?;
    let fields = codes.fields(report, &EXIT_CODES)?;
    let operators = [
        ("In", ExitCodeOperator::In),
        ("NotIn", ExitCodeOperator::NotIn),
    ];
    fields.require(report, "operator");
    let operator = one_of(report, &fields, "operator", &operators);
    let values = fields.items(report, "values");
    if values.is_empty() || values.len() > MOST_CODES {
        codes.refuse(report, format!("needs 1 to {MOST_CODES} values"));
    }
    let codes = values.iter().filter_map(|f| f.ranged(report, 0, 255));
    Some(RestartRule {
        exit_codes: codes.collect(),
        operator: operator?,
    })
}

fn termination_message(report: &mut Report, container: &Fields<'_>) -> TerminationMessage {
    let default = TerminationMessage::default();
    let policies = [
        ("File", MessagePolicy::File),
        (
            "FallbackToLogsOnError",
            MessagePolicy::FallbackToLogsOnError,
        ),
    ];
    let path = container.get_text("terminationMessagePath");
    TerminationMessage {
        path: path
            .and_then(|f| f.checked(report, absolute))
            .unwrap_or(default.path),
        policy: one_of(report, container, "terminationMessagePolicy", &policies)
            .unwrap_or_default(),
    }
}

#[derive(Default)]
struct Hooks {
    post_start: Option<Hook>,
    pre_stop: Option<Hook>,
    stop_signal: Option<u8>,
}

fn hooks(report: &mut Report, container: &Fields<'_>, ports: &[Port], grace: u32) -> Hooks {
    let field = container.get("lifecycle");
    let Some(fields) = field.and_then(|f| f.fields(report, &LIFECYCLE)) else {
        return Hooks::default();
    };
    let mut hook = |name| {
        let field = fields.get(name)?;
        hook(report, &field, ports, grace)
    };
    Hooks {
        post_start: hook("postStart"),
        pre_stop: hook("preStop"),
        stop_signal: fields
            .get_text("stopSignal")
            .and_then(|f| stop_signal(report, &f)),
    }
}

fn hook(report: &mut Report, field: &Field<'_>, ports: &[Port], grace: u32) -> Option<Hook> {
    let fields = field.fields(report, &HANDLER)?;
    let names = ["exec", "httpGet", "sleep", "tcpSocket"];
    let (name, action) = probe::only_one(report, field, &fields, &names)?;
    match name {
        "exec" => probe::exec(report, &action).map(Hook::Exec),
        "httpGet" => probe::http_get(report, &action, ports).map(Hook::HttpGet),
        "sleep" => sleep(report, &action, grace),
        _ => {
            let message = format!("{}: Kubernetes has no such hook any more", action.path);
            let hint = "use exec, httpGet or sleep";
            report.error_hint(action.position(), message, hint);
            None
        }
    }
}

fn sleep(report: &mut Report, action: &Field<'_>, grace: u32) -> Option<Hook> {
    let fields = action.fields(report, &SLEEP)?;
    let seconds = fields.require(report, "seconds")?;
    let length = seconds.ranged(report, 0, u32::MAX)?;
    if length > grace {
        let reason = format!("is more than terminationGracePeriodSeconds ({grace})");
        seconds.refuse(report, reason);
        return None;
    }
    Some(Hook::Sleep { seconds: length })
}

/// A signal by the name that the API has for it: `SIGTERM`, `SIGRTMIN+3`.
fn stop_signal(report: &mut Report, field: &Field<'_>) -> Option<u8> {
    let name = field.string(report)?;
    let number = name
        .starts_with("SIG")
        .then(|| parse_signal(&name))
        .flatten();
    if number.is_none() {
        field.refuse(report, "is no signal, such as SIGTERM or SIGRTMIN+3");
    }
    number
}
