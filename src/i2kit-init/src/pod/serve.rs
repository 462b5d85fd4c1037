//! The Pod's state over HTTP on the kubelet's health port: for load balancers, for Prometheus and
//! for people. One request a connection, bounded in time, size and number.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use i2kit_contract::STATE_PORT;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    cgroup,
    http::request::{self, Request},
    net::own,
    pod::{
        metrics,
        state::State,
        status::{self, Images},
    },
};

/// Connections at a time; others wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 64;
/// How long a request may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(3);
/// A request's head is at most this long.
const LONGEST_HEAD: usize = 8 * 1024;
/// Between two tries to accept, when the system is out of something.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens on all addresses, IPv6 and IPv4.
///
/// # Errors
/// The port is taken.
pub async fn listen() -> io::Result<TcpListener> {
    let on = |address: IpAddr| TcpListener::bind(SocketAddr::new(address, STATE_PORT));
    // The kernel may have no IPv6.
    match on(Ipv6Addr::UNSPECIFIED.into()).await {
        Ok(listener) => Ok(listener),
        Err(_) => on(Ipv4Addr::UNSPECIFIED.into()).await,
    }
}

/// Serves until it is dropped. Must run inside a tokio `LocalSet`.
pub async fn serve(listener: TcpListener, state: State, images: Images) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let images = Rc::new(images);
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (state, images) = (state.clone(), Rc::clone(&images));
                tokio::task::spawn_local(async move {
                    // Whoever asks badly or goes away hears nothing.
                    let _ = converse(stream, &state, &images).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn converse(mut stream: TcpStream, state: &State, images: &Images) -> io::Result<()> {
    let request = timeout(PATIENCE, read(&mut stream)).await??;
    let answer = match &request {
        Some(request) => answer(request, state, images),
        None => Answer::text(400, "bad request\n"),
    };
    let is_head = request.is_some_and(|request| request.method == "HEAD");
    timeout(PATIENCE, stream.write_all(&answer.bytes(is_head))).await??;
    timeout(PATIENCE, stream.shutdown()).await?
}

/// The request; `None` when what comes is none.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match request::parse(&head) {
            Ok(Some(request)) => return Ok(Some(request)),
            Ok(None) if head.len() < LONGEST_HEAD => {}
            _ => return Ok(None),
        }
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(None);
        }
        head.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
}

struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: TEXT,
            body: body.into(),
        }
    }

    fn bytes(&self, is_head: bool) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Service Unavailable",
        };
        let mut text = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n",
            body.len()
        );
        if *status == 405 {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        text.push_str("\r\n");
        if !is_head {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

fn answer(request: &Request, state: &State, images: &Images) -> Answer {
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        return Answer::text(405, "only GET and HEAD\n");
    }
    match request.path.as_str() {
        // That PID 1 answers is all there is to say.
        "/livez" | "/healthz" => Answer::text(200, "ok\n"),
        "/readyz" => ready(state),
        "/metrics" => Answer {
            kind: METRICS,
            ..Answer::text(200, page(state))
        },
        "/pods" => {
            let board = state.board();
            let pods = status::pods(state.contract(), &board, images, own::address());
            Answer {
                kind: JSON,
                ..Answer::text(200, format!("{pods}\n"))
            }
        }
        _ => Answer::text(404, "there are /livez, /readyz, /metrics and /pods\n"),
    }
}

fn ready(state: &State) -> Answer {
    let board = state.board();
    match board.holds("Ready") {
        true => Answer::text(200, "ok\n"),
        false => Answer::text(503, format!("not ready: {}\n", board.message("Ready"))),
    }
}

fn page(state: &State) -> String {
    let board = state.board();
    let usages = board.members.iter();
    let usages: Vec<_> = usages.map(|member| cgroup::usage(&member.name)).collect();
    metrics::page(&board, &state.tries(), &usages)
}

#[cfg(test)]
mod tests {
    use i2kit_contract::RestartPolicy;
    use tokio::task::LocalSet;

    use super::*;
    use crate::{
        console::Console,
        pod::{
            board::{Ended, tests::contract},
            events::Events,
        },
        report::Report,
    };

    fn state() -> State {
        let console = Console::start();
        let events = Events::new(console.clone(), Report::new(console));
        State::new(&contract(RestartPolicy::Always), events)
    }

    fn ended(id: &str) -> Ended {
        Ended {
            exit_code: 0,
            reason: "Completed",
            message: String::new(),
            started: None,
            finished: std::time::SystemTime::now(),
            id: id.into(),
        }
    }

    /// What the server says to these bytes.
    async fn say(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that has read enough may have hung up.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        say(
            address,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )
        .await
    }

    async fn with_server<F: Future>(state: &State, client: impl FnOnce(SocketAddr) -> F) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        LocalSet::new()
            .run_until(async {
                let server = serve(listener, state.clone(), Images::default());
                let server = tokio::task::spawn_local(server);
                client(address).await;
                server.abort();
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn readiness_is_the_pods() {
        let state = state();
        let client = async |address| {
            assert!(
                get(address, "/livez")
                    .await
                    .starts_with("HTTP/1.1 200 OK\r\n")
            );
            let answer = get(address, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("[proxy web db]"), "{answer}");
            state.ended(0, ended("setup.0"), None);
            for index in 1..4 {
                state.begun(index, "x", 0);
                state.running(index);
                state.started(index);
                state.ready(index, true);
            }
            assert!(
                get(address, "/readyz?verbose")
                    .await
                    .ends_with("\r\n\r\nok\n")
            );
            state.ending();
            assert!(get(address, "/readyz").await.contains("the Pod is ending"));
        };
        with_server(&state, client).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_run_counts_however_soon_it_ends() {
        let state = state();
        let client = async |address| {
            state.begun(0, "setup.1", 1);
            state.ended(0, ended("setup.1"), None);
            let metrics = get(address, "/metrics").await;
            let line = "kube_pod_container_status_restarts_total{container=\"setup\"} 1\n";
            assert!(metrics.contains(line), "{metrics}");
        };
        with_server(&state, client).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn bad_requests_are_refused_and_slow_ones_given_up() {
        let client = async |address| {
            let post = say(address, b"POST /pods HTTP/1.1\r\n\r\n").await;
            assert!(post.contains("405") && post.contains("Allow: GET, HEAD"));
            let head = say(address, b"HEAD /pods HTTP/1.1\r\n\r\n").await;
            assert!(head.ends_with("\r\n\r\n") && !head.contains("Content-Length: 0"));
            assert!(get(address, "/etc/passwd").await.contains("404"));
            let garbage = say(address, b"\x16\x03\x01\r\n\r\n").await;
            assert!(garbage.contains("400"), "{garbage}");
            let endless = say(address, &vec![b'x'; 1 << 20]).await;
            assert!(endless.is_empty() || endless.contains("400"));
            let mut slow = Vec::new();
            for _ in 0..MOST_CONNECTIONS {
                slow.push(TcpStream::connect(address).await.unwrap());
            }
            // Only when their time is up is there room for this one.
            assert!(get(address, "/livez").await.contains("200 OK"));
        };
        with_server(&state(), client).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn pods_and_metrics_are_served_as_what_they_are() {
        let client = async |address| {
            let pods = get(address, "/pods").await;
            let (head, body) = pods.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("Content-Type: application/json"));
            let pods: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(pods["items"][0]["status"]["phase"], "Pending");
            let metrics = get(address, "/metrics").await;
            assert!(metrics.contains("version=0.0.4"));
            assert!(metrics.contains("\nkube_pod_status_ready 0\n"));
        };
        with_server(&state(), client).await;
    }
}
