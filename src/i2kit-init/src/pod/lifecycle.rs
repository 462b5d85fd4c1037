//! The decisions in a Pod's life, as the kubelet takes them. Pure: what runs, ends and waits is
//! the supervisors' business.

use std::time::Duration;

use i2kit_contract::{Contract, Life, RestartPolicy};

/// What a container has at least between its stop signal and SIGKILL, even if a hook has used up
/// the grace period (the kubelet's `minimumGracePeriodInSeconds`).
pub const LEAST_GRACE: Duration = Duration::from_secs(2);

/// What a container is in its Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ends before the next one starts.
    Init,
    /// Among the init containers, but stays.
    Sidecar,
    /// The Pod ends with the last of these.
    Main,
}

/// The roles of [`Contract::all_containers`], in their order.
pub fn roles(contract: &Contract) -> Vec<Role> {
    let init = contract.init_containers.iter();
    let init = init.map(|container| match container.is_sidecar() {
        true => Role::Sidecar,
        false => Role::Init,
    });
    init.chain(contract.containers.iter().map(|_| Role::Main))
        .collect()
}

/// Whether a container that has ended so starts again while its Pod goes on.
pub fn restarts(pod: RestartPolicy, role: Role, life: &Life, exit_code: u32) -> bool {
    let matches = |code| life.restart_rules.iter().any(|rule| rule.matches(code));
    match (role, life.restart_policy.unwrap_or(pod)) {
        (Role::Sidecar, _) => true,
        _ if matches(exit_code) => true,
        // An init container that has succeeded has done its work.
        (Role::Init, RestartPolicy::Always) => exit_code != 0,
        (_, RestartPolicy::Always) => true,
        (_, RestartPolicy::OnFailure) => exit_code != 0,
        (_, RestartPolicy::Never) => false,
    }
}

/// Whether the stop signal may go to the sidecar at `index`: all that come after it have ended.
pub fn is_turn(alive: &[bool], index: usize) -> bool {
    !alive.iter().skip(index + 1).any(|alive| *alive)
}

/// What is left of a grace period after `spent` of it.
pub fn rest(grace: Duration, spent: Duration) -> Duration {
    grace.saturating_sub(spent).max(LEAST_GRACE)
}

#[cfg(test)]
mod tests {
    use i2kit_contract::{ExitCodeOperator, RestartRule};

    use super::*;

    const CODES: [u32; 3] = [0, 1, 137];

    fn decisions(pod: RestartPolicy, role: Role, life: &Life) -> [bool; 3] {
        CODES.map(|code| restarts(pod, role, life, code))
    }

    #[test]
    fn the_pods_policy_decides_by_role_and_exit_code() {
        use RestartPolicy::{Always, Never, OnFailure};
        let life = Life::default();
        let all = |role| [Always, OnFailure, Never].map(|pod| decisions(pod, role, &life));
        let on_failure = [false, true, true];
        assert_eq!(all(Role::Main), [[true; 3], on_failure, [false; 3]]);
        assert_eq!(all(Role::Init), [on_failure, on_failure, [false; 3]]);
        assert_eq!(all(Role::Sidecar), [[true; 3]; 3]);
    }

    #[test]
    fn the_containers_own_policy_and_rules_come_first() {
        let mut life = Life {
            restart_policy: Some(RestartPolicy::Never),
            ..Life::default()
        };
        let decide = |life: &Life| decisions(RestartPolicy::Always, Role::Main, life);
        assert_eq!(decide(&life), [false; 3]);
        life.restart_rules = vec![RestartRule {
            operator: ExitCodeOperator::In,
            exit_codes: vec![1, 42],
        }];
        assert_eq!(decide(&life), [false, true, false]);
        life.restart_rules = vec![RestartRule {
            operator: ExitCodeOperator::NotIn,
            exit_codes: vec![1],
        }];
        assert_eq!(decide(&life), [true, false, true]);
    }

    #[test]
    fn sidecars_are_stopped_after_the_main_containers_and_in_reverse_order() {
        // A sidecar, an init container that is done, a sidecar, two main containers.
        let mut alive = [true, false, true, true, true];
        let mut order = Vec::new();
        for ended in [4, 3, 2, 0] {
            alive[ended] = false;
            order.push([0, 2].map(|index| is_turn(&alive, index)));
        }
        assert_eq!(
            order,
            [[false, false], [false, true], [true, true], [true, true]]
        );
    }

    #[test]
    fn a_hook_never_takes_the_last_two_seconds() {
        let seconds = Duration::from_secs;
        assert_eq!(rest(seconds(30), seconds(10)), seconds(20));
        assert_eq!(rest(seconds(30), seconds(29)), LEAST_GRACE);
        assert_eq!(rest(seconds(30), seconds(31)), LEAST_GRACE);
        assert_eq!(rest(seconds(0), seconds(0)), LEAST_GRACE);
    }
}
