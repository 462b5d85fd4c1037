//! containerd's API: one container object and one task per start of a container.
//!
//! containerd may end and be started again at any time. Its tasks live on without it, so calls
//! that can be made twice are made again until it answers.

use std::{
    error::Error as _,
    path::Path,
    time::{Duration, Instant},
};

use containerd_client::{
    Client as Api,
    services::v1::{
        CloseIoRequest, Container, CreateContainerRequest, CreateTaskRequest,
        DeleteContainerRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest,
        KillRequest, StartRequest, WaitRequest, container::Runtime,
    },
    tonic::{Code, Request, Response, Status as Refusal, metadata::MetadataValue, transport},
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
/// How long a call waits for a containerd that is gone, and between two tries.
const RETURN_PATIENCE: Duration = Duration::from_secs(120);
const RETURN_POLL: Duration = Duration::from_millis(200);

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
    /// The connection broke: nobody knows how far it has come.
    #[error("containerd: {operation} {id}: no connection: {message}")]
    Lost {
        /// The call.
        operation: &'static str,
        /// The container.
        id: String,
        /// Why.
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
    /// Fifo for standard input; empty for none.
    pub stdin: String,
    /// Fifo for standard output.
    pub stdout: String,
    /// Fifo for standard error; empty with a terminal.
    pub stderr: String,
    /// The process has a terminal.
    pub terminal: bool,
    /// Called when the runtime has made everything ready and the program has not begun.
    pub prepared: &'a dyn Fn(),
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
        Self::connect_to(daemon::SOCKET, patience).await
    }

    async fn connect_to(socket: &str, patience: Duration) -> Result<Self, Error> {
        let end = Instant::now() + patience;
        let mut last = None;
        loop {
            // There it may not answer yet.
            if Path::new(socket).exists() {
                match Api::from_path(socket).await {
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
            terminal: start.terminal,
            stdin: start.stdin,
            stdout: start.stdout,
            stderr: start.stderr,
            ..CreateTaskRequest::default()
        };
        let result = self.api.tasks().create(namespaced(request)).await;
        result.map_err(refused("create task", id))?;
        (start.prepared)();
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
    /// [`Error::Refused`], [`Error::Lost`]; [`Client::remove_process`] removes what has come of it so
    /// far.
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
        let client = self.clone();
        let request = WaitRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        tokio::task::spawn_local(async move {
            let id = request.container_id.clone();
            let call = || {
                let (mut tasks, request) = (client.api.tasks(), namespaced(request.clone()));
                async move { tasks.wait(request).await }
            };
            let response = persist(call).await.map_err(refused("wait for", &id))?;
            Ok(response.into_inner().exit_status)
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
        let call = || {
            let (mut tasks, request) = (self.api.tasks(), namespaced(request.clone()));
            async move { tasks.kill(request).await }
        };
        unless_gone("signal", id, persist(call).await)
    }

    /// Deletes an ended task and its container, if they are there. The shim unmounts the root.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let request = DeleteTaskRequest {
            container_id: id.to_owned(),
        };
        let delete_task = || {
            let (mut tasks, request) = (self.api.tasks(), namespaced(request.clone()));
            async move { tasks.delete(request).await }
        };
        let task = persist(delete_task).await;
        let request = DeleteContainerRequest { id: id.to_owned() };
        let delete_container = || {
            let (mut containers, request) = (self.api.containers(), namespaced(request.clone()));
            async move { containers.delete(request).await }
        };
        let container = persist(delete_container).await;
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

/// Makes a call again while there is no connection to make it on.
async fn persist<T, F>(call: impl Fn() -> F) -> Result<Response<T>, Refusal>
where
    F: Future<Output = Result<Response<T>, Refusal>>,
{
    let end = Instant::now() + RETURN_PATIENCE;
    loop {
        match call().await {
            Err(refusal) if is_lost(&refusal) && Instant::now() < end => {
                tokio::time::sleep(RETURN_POLL).await;
            }
            result => return result,
        }
    }
}

/// A refusal of containerd's own has no cause on our side.
fn is_lost(refusal: &Refusal) -> bool {
    refusal.source().is_some()
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
    move |refusal| {
        let id = id.to_owned();
        let message = refusal.message().trim().replace('\n', "; ");
        match is_lost(&refusal) {
            true => Error::Lost {
                operation,
                id,
                message,
            },
            false => Error::Refused {
                operation,
                id,
                message,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        process::{Child, Command, Stdio},
    };

    use serde_json::json;
    use tokio::task::LocalSet;

    use super::*;

    /// Debian's containerd with folders of its own; it ends with its owner.
    struct Daemon {
        folder: PathBuf,
        child: Child,
    }

    impl Daemon {
        fn start() -> Self {
            let folder = std::env::temp_dir().join(format!("i2kit-ctd-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            let child = spawn(&folder);
            Self { folder, child }
        }

        fn socket(&self) -> String {
            self.folder.join("socket").display().to_string()
        }

        fn kill(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn spawn(folder: &Path) -> Child {
        let path = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("socket"),
            path("ttrpc"),
        );
        fs::write(path("config.toml"), config).unwrap();
        Command::new("containerd")
            .args(["--config", &path("config.toml"), "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd and runc are there, and this test runs as root")
    }

    /// A container that sees this machine's root and runs `sleep`.
    fn sleeper<'a>(id: &'a str, seconds: &str) -> Start<'a> {
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["sleep", seconds],
                "env": ["PATH=/usr/bin:/bin"],
                "cwd": "/",
            },
            "root": { "path": "rootfs", "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                // runc makes devices there.
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        });
        Start {
            id,
            spec: serde_json::to_vec(&spec).unwrap(),
            rootfs: Mount {
                r#type: "bind".into(),
                source: "/".into(),
                target: String::new(),
                options: vec!["bind".into(), "ro".into()],
            },
            stdin: String::new(),
            stdout: String::new(),
            stderr: String::new(),
            terminal: false,
            prepared: &|| (),
        }
    }

    /// containerd is killed and comes back: one container ends meanwhile, another one after.
    #[tokio::test(flavor = "current_thread")]
    async fn containers_outlive_containerd_and_their_exits_are_heard_of() {
        let mut daemon = Daemon::start();
        let patience = Duration::from_secs(60);
        let test = async {
            let client = Client::connect_to(&daemon.socket(), patience).await;
            let client = client.unwrap();
            let short = client.start(sleeper("short", "3")).await.unwrap();
            let mut long = client.start(sleeper("long", "1000")).await.unwrap();
            daemon.kill();
            let lost = client.start(sleeper("third", "1")).await;
            assert!(matches!(lost, Err(Error::Lost { .. })));
            let early = tokio::time::timeout(Duration::from_secs(4), &mut long).await;
            assert!(early.is_err(), "{early:?}");
            daemon.child = spawn(&daemon.folder);
            assert_eq!(short.await.unwrap().unwrap(), 0);
            client.kill("long", SIGKILL, true).await.unwrap();
            assert_eq!(long.await.unwrap().unwrap(), 137);
            for id in ["short", "long"] {
                client.remove(id).await.unwrap();
            }
            client.destroy("third", patience).await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }
}
