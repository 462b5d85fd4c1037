//! What a machine that runs here is asked.

use std::io::{Empty, Stdin, stderr, stdin, stdout};

use i2kit_contract::control::{ContainerState, PodState, Request};

use super::args::{Exec, Logs, State};
use super::error::Error;
use crate::run::{ControlError, ControlSession};

/// `i2kit exec`; answers the program's exit code.
pub fn exec(arguments: &Exec) -> Result<u8, Error> {
    let request = Request::Exec {
        container: arguments.container.clone(),
        args: arguments.args.clone(),
        stdin: arguments.stdin,
    };
    ask(&arguments.vm, &request, arguments.stdin.then(stdin))
}

/// `i2kit logs`.
pub fn logs(arguments: &Logs) -> Result<u8, Error> {
    let request = Request::Logs {
        container: arguments.container.clone(),
        follow: arguments.follow,
        tail: arguments.tail,
    };
    ask(&arguments.vm, &request, None)
}

fn ask(vm: &str, request: &Request, input: Option<Stdin>) -> Result<u8, Error> {
    let session = ControlSession::open(vm, request)?;
    let code = session.run(input, &mut stdout().lock(), &mut stderr().lock())?;
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// `i2kit status`.
pub fn status(arguments: &State) -> Result<u8, Error> {
    let mut json = Vec::new();
    let session = ControlSession::open(&arguments.vm, &Request::State)?;
    session.run(None::<Empty>, &mut json, &mut stderr().lock())?;
    let state: PodState = serde_json::from_slice(&json)
        .map_err(|error| ControlError::Refused(format!("read the machine's answer: {error}")))?;
    if arguments.json {
        json.push(b'\n');
        super::print(&json)?;
    } else {
        super::print(table(&state).as_bytes())?;
    }
    Ok(0)
}

fn table(state: &PodState) -> String {
    let mut text = format!("Pod {}, up {}\n", state.pod, duration(state.uptime_ms));
    let longest = state.containers.iter().map(|one| one.name.len()).max();
    for container in &state.containers {
        let (name, width) = (&container.name, longest.unwrap_or(0));
        text.push_str(&format!(
            "  {name:width$}  {}\n",
            describe(container, state.uptime_ms)
        ));
    }
    text
}

fn describe(container: &ContainerState, now_ms: u64) -> String {
    let since = container.started_at_ms.unwrap_or(now_ms);
    let mut text = match (container.running, container.last_exit_code) {
        (true, _) => format!("running for {}", duration(now_ms.saturating_sub(since))),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "not started yet".into(),
    };
    if container.restart_count > 0 {
        text.push_str(&format!(
            ", started again {} times",
            container.restart_count
        ));
    }
    text
}

fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_each_container_does() {
        let container = |name: &str, running, exit, restarts| ContainerState {
            name: name.into(),
            running,
            started_at_ms: Some(1000),
            restart_count: restarts,
            last_exit_code: exit,
        };
        let state = PodState {
            pod: "web".into(),
            uptime_ms: 62_000,
            containers: vec![
                container("web", true, Some(1), 2),
                container("job", false, Some(0), 0),
            ],
        };
        assert_eq!(
            table(&state),
            "Pod web, up 1 min 2 s\n  web  running for 1 min 1 s, started again 2 times\n  job  ended with exit code 0\n"
        );
    }
}
