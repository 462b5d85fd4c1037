//! Commands in a running container: what exec probes and hooks run.

use std::{cell::Cell, time::Duration};

use serde_json::Value;

use crate::{
    containerd::client::{Client, Error, Exec},
    fault::Fault,
    pod::{
        output::{First, Stream},
        supervise::KILL_PATIENCE,
    },
};

/// How long a started container's command may take to be started itself. Only then its own time
/// begins: what a busy machine needs to enter a container says nothing of the container.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A running container in which commands can be run.
pub struct Inside {
    /// containerd.
    pub client: Client,
    /// The container's id there.
    pub id: String,
    /// `process` of its specification.
    pub process: Value,
    /// Makes the processes' ids unique.
    pub count: Cell<u64>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited {
        /// Its exit code.
        code: u32,
        /// The start of what it printed.
        output: String,
    },
    /// It was killed after its time.
    TimedOut,
}

/// A command that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// containerd.
    #[error(transparent)]
    Containerd(#[from] Error),
    /// The system.
    #[error(transparent)]
    System(#[from] Fault),
    /// The specification is no JSON.
    #[error("write the process's specification: {0}")]
    Json(#[from] serde_json::Error),
    /// It did not start in time.
    #[error("the command was not started within {} s", START_PATIENCE.as_secs())]
    NotStarted,
}

impl Inside {
    /// Runs a command as the container's own process runs: same user, variables and folder. After
    /// `limit` it is killed.
    ///
    /// # Errors
    /// [`Failure`]. Nothing of the command is left then.
    pub async fn run(&self, command: &[String], limit: Option<Duration>) -> Result<Ended, Failure> {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let exec_id = format!("exec-{count}");
        let stream = Stream::open(&format!("{}-{exec_id}", self.id), First::default())?;
        let exec = Exec {
            id: &self.id,
            exec_id: &exec_id,
            process: serde_json::to_vec(&process(&self.process, command))?,
            stdin: String::new(),
            stdout: stream.path(),
            stderr: stream.path(),
        };
        let ended = self.wait(exec, limit).await;
        let removed = self
            .client
            .remove_process(&self.id, &exec_id, KILL_PATIENCE)
            .await;
        let output = stream.close().await.map(|first| first.text());
        let ended = ended?;
        removed?;
        Ok(match ended {
            Some(code) => Ended::Exited {
                code,
                output: output.unwrap_or_default(),
            },
            None => Ended::TimedOut,
        })
    }

    async fn wait(&self, exec: Exec<'_>, limit: Option<Duration>) -> Result<Option<u32>, Failure> {
        let started = tokio::time::timeout(START_PATIENCE, self.client.exec(exec)).await;
        let mut exit = started.map_err(|_| Failure::NotStarted)??;
        let code = match limit {
            None => (&mut exit).await,
            Some(limit) => match tokio::time::timeout(limit, &mut exit).await {
                Ok(code) => code,
                Err(_) => {
                    exit.abort();
                    return Ok(None);
                }
            },
        };
        // The task that waits neither panics nor is cancelled.
        Ok(code.ok().transpose()?)
    }
}

impl Ended {
    /// Success is exit code 0.
    ///
    /// # Errors
    /// A line for people.
    pub fn must_succeed(self) -> Result<(), String> {
        match self {
            Self::Exited { code: 0, .. } => Ok(()),
            Self::Exited { code, output } if output.is_empty() => {
                Err(format!("command exited with {code}"))
            }
            Self::Exited { code, output } => Err(format!("command exited with {code}: {output}")),
            Self::TimedOut => Err("command timed out".into()),
        }
    }
}

fn process(container: &Value, command: &[String]) -> Value {
    let mut process = container.clone();
    if let Some(fields) = process.as_object_mut() {
        fields.insert("args".into(), command.into());
        fields.remove("terminal");
    }
    process
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_runs_as_the_containers_process_but_without_its_terminal() {
        let own = json!({ "user": { "uid": 7 }, "args": ["x"], "cwd": "/", "terminal": true });
        let process = process(&own, &["ls".into(), "-l".into()]);
        let expected = json!({ "user": { "uid": 7 }, "args": ["ls", "-l"], "cwd": "/" });
        assert_eq!(process, expected);
    }
}
