//! The Pod in Prometheus' text format (version 0.0.4). Names are those of kube-state-metrics, the
//! kubelet and cAdvisor where they have one. Pure but for the numbers handed in.

use std::{fmt::Write, time::UNIX_EPOCH};

use crate::{
    cgroup::Usage,
    pod::{
        board::{Board, Member, Place},
        state::Tries,
    },
};

/// The whole page. `usages` are in the members' order; none for what does not run.
pub fn page(board: &Board, tries: &Tries, usages: &[Option<Usage>]) -> String {
    let mut page = Page::default();
    let started = board.started.duration_since(UNIX_EPOCH);
    page.head(
        "kube_pod_start_time",
        "gauge",
        "Start of the Pod in seconds since 1970.",
    );
    page.line(
        "kube_pod_start_time",
        "",
        started.unwrap_or_default().as_secs(),
    );
    page.head(
        "kube_pod_status_ready",
        "gauge",
        "Whether the Pod is ready.",
    );
    page.line("kube_pod_status_ready", "", u64::from(board.holds("Ready")));
    states(&mut page, board);
    probes(&mut page, tries);
    resources(&mut page, board, usages);
    page.text
}

fn states(page: &mut Page, board: &Board) {
    type Number = fn(&Member) -> u64;
    let families: [(&str, &str, &str, Number); 3] = [
        (
            "kube_pod_container_status_ready",
            "gauge",
            "Whether the container is ready.",
            |member| u64::from(member.ready),
        ),
        (
            "kube_pod_container_status_running",
            "gauge",
            "Whether the container runs.",
            |member| u64::from(matches!(member.place, Place::Running { .. })),
        ),
        (
            "kube_pod_container_status_restarts_total",
            "counter",
            "Starts of the container after the first.",
            |member| u64::from(member.restart_count),
        ),
    ];
    for (name, kind, help, number) in families {
        page.head(name, kind, help);
        for member in &board.members {
            page.line(name, &label(&member.name), number(member));
        }
    }
}

fn probes(page: &mut Page, tries: &Tries) {
    let name = "prober_probe_total";
    page.head(name, "counter", "Tries of a probe by result.");
    for ((container, kind), [good, bad]) in tries {
        for (result, count) in [("successful", good), ("failed", bad)] {
            let labels = format!(
                "{},probe_type=\"{kind}\",result=\"{result}\"",
                label(container)
            );
            page.line(name, &labels, *count);
        }
    }
}

fn resources(page: &mut Page, board: &Board, usages: &[Option<Usage>]) {
    type Number = fn(&Usage) -> Seconds;
    let families: [(&str, &str, &str, Number); 5] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "CPU time of this run of the container.",
            |usage| Seconds::Micros(usage.cpu_micros),
        ),
        (
            "container_memory_usage_bytes",
            "gauge",
            "Memory of the container, its page cache included.",
            |usage| Seconds::Whole(usage.memory),
        ),
        (
            "container_memory_working_set_bytes",
            "gauge",
            "Memory of the container without inactive page cache.",
            |usage| Seconds::Whole(usage.working_set),
        ),
        (
            "container_processes",
            "gauge",
            "Processes and threads of the container.",
            |usage| Seconds::Whole(usage.tasks),
        ),
        (
            "container_oom_events_total",
            "counter",
            "Processes of this run killed for want of memory.",
            |usage| Seconds::Whole(usage.oom_kills),
        ),
    ];
    for (name, kind, help, number) in families {
        page.head(name, kind, help);
        for (member, usage) in board.members.iter().zip(usages) {
            if let Some(usage) = usage {
                page.line(name, &label(&member.name), number(usage));
            }
        }
    }
}

/// A container's name is a DNS label: nothing in it needs escaping.
fn label(container: &str) -> String {
    format!("container=\"{container}\"")
}

/// A number as it is, or microseconds as seconds.
enum Seconds {
    Whole(u64),
    Micros(u64),
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Micros(micros) => {
                write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
            }
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use i2kit_contract::RestartPolicy;

    use super::*;
    use crate::pod::{board::tests::contract, probe::Kind};

    #[test]
    fn the_page_has_the_pod_its_containers_probes_and_resources() {
        let now = UNIX_EPOCH + Duration::from_secs(90);
        let mut board = Board::new(&contract(RestartPolicy::Always), now);
        board.members[2].place = Place::Running { since: now };
        board.members[2].restart_count = 3;
        let tries = Tries::from([(("web".to_owned(), Kind::Liveness), [5, 1])]);
        let usage = Usage {
            cpu_micros: 1_500_000,
            memory: 4096,
            working_set: 1024,
            tasks: 2,
            oom_kills: 0,
        };
        let page = page(&board, &tries, &[None, None, Some(usage), None]);
        for line in [
            "kube_pod_start_time 90",
            "kube_pod_status_ready 0",
            "kube_pod_container_status_running{container=\"web\"} 1",
            "kube_pod_container_status_restarts_total{container=\"web\"} 3",
            "kube_pod_container_status_running{container=\"db\"} 0",
            "prober_probe_total{container=\"web\",probe_type=\"Liveness\",result=\"successful\"} 5",
            "prober_probe_total{container=\"web\",probe_type=\"Liveness\",result=\"failed\"} 1",
            "container_cpu_usage_seconds_total{container=\"web\"} 1.500000",
            "container_memory_working_set_bytes{container=\"web\"} 1024",
        ] {
            assert!(page.lines().any(|one| one == line), "no {line} in:\n{page}");
        }
        assert!(!page.contains("container_processes{container=\"db\"}"));
    }
}
