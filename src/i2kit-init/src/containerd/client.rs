//! containerd's API: one container object and one task per start of a container.

use std::time::{Duration, Instant};

use containerd_client::{
    Client as Api,
    services::v1::{
        CloseIoRequest, Container, CreateContainerRequest, CreateTaskRequest,
        DeleteContainerRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest,
        KillRequest, StartRequest, WaitRequest, container::Runtime,
    },
    tonic::{Code, Request, Status as Refusal, metadata::MetadataValue, transport},
    types::Mount,
};
use prost_types::Any;
use tokio::task::JoinHandle;

use crate::containerd::daemon;

/// containerd's namespace for everything of ours.
const NAMESPACE: &str = "i2kit";
const RUNTIME: &str = "io.containerd.runc.v2";
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// The signal that cannot be ignored.
pub const SIGKILL: u32 = 9;
const POLL: Duration = Duration::from_millis(10);

/// containerd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused a call.
    #[error("containerd: {operation} {id}: {message}")]
    Refused {
        /// The call.
        operation: &'static str,
        /// The container.
        id: String,
        /// What it said.
        message: String,
    },
    /// It did not answer in time.
    #[error("containerd does not answer on {} within {seconds} s", daemon::SOCKET)]
    Silent {
        /// How long was waited.
        seconds: u64,
        /// The last attempt's error.
        source: Option<transport::Error>,
    },
}

/// A connection to containerd; clones share it.
#[derive(Clone)]
pub struct Client {
    api: std::rc::Rc<Api>,
}

/// What one start of a container needs.
pub struct Start<'a> {
    /// Unique among the containers that exist at the time.
    pub id: &'a str,
    /// The OCI runtime specification, as JSON.
    pub spec: Vec<u8>,
    /// Mounted as the container's root.
    pub rootfs: Mount,
    /// Fifo for standard output.
    pub stdout: String,
    /// Fifo for standard error.
    pub stderr: String,
}

/// What one more process in a container needs.
pub struct Exec<'a> {
    /// The container.
    pub id: &'a str,
    /// Unique among the container's processes.
    pub exec_id: &'a str,
    /// `process` of the OCI runtime specification, as JSON.
    pub process: Vec<u8>,
    /// Fifo for standard input; empty for none.
    pub stdin: String,
    /// Fifo for standard output.
    pub stdout: String,
    /// Fifo for standard error.
    pub stderr: String,
}

/// The exit code of a task that will end.
pub type Exit = JoinHandle<Result<u32, Error>>;

impl Client {
    /// Connects, and asks for the version until containerd answers.
    ///
    /// # Errors
    /// [`Error::Silent`] after `patience`.
    pub async fn connect(patience: Duration) -> Result<Self, Error> {
        let end = Instant::now() + patience;
        let mut last = None;
        loop {
            if daemon::listens() {
                match Api::from_path(daemon::SOCKET).await {
                    Ok(api) => {
                        if api.version().version(Request::new(())).await.is_ok() {
                            return Ok(Self { api: api.into() });
                        }
                    }
                    Err(error) => last = Some(error),
                }
            }
            if Instant::now() >= end {
                return Err(Error::Silent {
                    seconds: patience.as_secs(),
                    source: last,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Creates a container and its task and starts its process.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Client::destroy`] removes what has come of it so far.
    pub async fn start(&self, start: Start<'_>) -> Result<Exit, Error> {
        let id = start.id;
        let container = Container {
            id: id.to_owned(),
            runtime: Some(Runtime {
                name: RUNTIME.into(),
                options: None,
            }),
            spec: Some(Any {
                type_url: SPEC_TYPE.into(),
                value: start.spec,
            }),
            ..Container::default()
        };
        let request = CreateContainerRequest {
            container: Some(container),
        };
        let result = self.api.containers().create(namespaced(request)).await;
        result.map_err(refused("create container", id))?;
        let request = CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs: vec![start.rootfs],
            stdout: start.stdout,
            stderr: start.stderr,
            ..CreateTaskRequest::default()
        };
        let result = self.api.tasks().create(namespaced(request)).await;
        result.map_err(refused("create task", id))?;
        self.start_process(id, "").await
    }

    async fn start_process(&self, id: &str, exec_id: &str) -> Result<Exit, Error> {
        // Before the start, so that no exit is too quick to be seen.
        let exit = self.wait(id, exec_id);
        let request = StartRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        let result = self.api.tasks().start(namespaced(request)).await;
        if result.is_err() {
            exit.abort();
        }
        result.map_err(refused("start", id))?;
        Ok(exit)
    }

    /// Starts one more process in a container that runs.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Client::remove_process`] removes what has come of it so far.
    pub async fn exec(&self, exec: Exec<'_>) -> Result<Exit, Error> {
        let request = ExecProcessRequest {
            container_id: exec.id.to_owned(),
            stdin: exec.stdin,
            stdout: exec.stdout,
            stderr: exec.stderr,
            terminal: false,
            spec: Some(Any {
                type_url: PROCESS_TYPE.into(),
                value: exec.process,
            }),
            exec_id: exec.exec_id.to_owned(),
        };
        let result = self.api.tasks().exec(namespaced(request)).await;
        result.map_err(refused("run a program in", exec.id))?;
        self.start_process(exec.id, exec.exec_id).await
    }

    /// Tells a process that its standard input has ended.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn close_stdin(&self, id: &str, exec_id: &str) -> Result<(), Error> {
        let request = CloseIoRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            stdin: true,
        };
        let result = self.api.tasks().close_io(namespaced(request)).await;
        unless_gone("close the input of", id, result)
    }

    /// Ends a further process, if it still runs, and removes it.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn remove_process(
        &self,
        id: &str,
        exec_id: &str,
        patience: Duration,
    ) -> Result<(), Error> {
        let request = KillRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            signal: SIGKILL,
            all: false,
        };
        let result = self.api.tasks().kill(namespaced(request)).await;
        if result.is_ok() {
            // Only an ended process can be deleted; if it has not ended, that is what it says.
            let _ = tokio::time::timeout(patience, self.wait(id, exec_id)).await;
        }
        let request = DeleteProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        let result = self.api.tasks().delete_process(namespaced(request)).await;
        unless_gone("remove a process of", id, result)
    }

    fn wait(&self, id: &str, exec_id: &str) -> Exit {
        let mut tasks = self.api.tasks();
        let (id, exec_id) = (id.to_owned(), exec_id.to_owned());
        tokio::task::spawn_local(async move {
            let request = WaitRequest {
                container_id: id.clone(),
                exec_id,
            };
            let response = tasks.wait(namespaced(request)).await;
            Ok(response
                .map_err(refused("wait for", &id))?
                .into_inner()
                .exit_status)
        })
    }

    /// Sends a signal to the container's first process, or to all of its processes. A container
    /// without processes is no error.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<(), Error> {
        let request = KillRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
            signal,
            all,
        };
        let result = self.api.tasks().kill(namespaced(request)).await;
        unless_gone("signal", id, result)
    }

    /// Deletes an ended task and its container, if they are there. The shim unmounts the root.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let request = DeleteTaskRequest {
            container_id: id.to_owned(),
        };
        let task = self.api.tasks().delete(namespaced(request)).await;
        let request = DeleteContainerRequest { id: id.to_owned() };
        let container = self.api.containers().delete(namespaced(request)).await;
        unless_gone("delete task", id, task)?;
        unless_gone("delete container", id, container)
    }

    /// Ends a container of which nothing is known any more, and removes it.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn destroy(&self, id: &str, patience: Duration) -> Result<(), Error> {
        self.kill(id, SIGKILL, true).await?;
        // Only an ended task can be deleted; if this one has not, that is what the removal says.
        let _ = tokio::time::timeout(patience, self.wait(id, "")).await;
        self.remove(id).await
    }
}

fn unless_gone<T>(
    operation: &'static str,
    id: &str,
    result: Result<T, Refusal>,
) -> Result<(), Error> {
    match result {
        Err(refusal) if refusal.code() != Code::NotFound => Err(refused(operation, id)(refusal)),
        _ => Ok(()),
    }
}

fn namespaced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(
        "containerd-namespace",
        MetadataValue::from_static(NAMESPACE),
    );
    request
}

fn refused(operation: &'static str, id: &str) -> impl FnOnce(Refusal) -> Error {
    move |refusal| Error::Refused {
        operation,
        id: id.to_owned(),
        message: refusal.message().trim().replace('\n', "; "),
    }
}
