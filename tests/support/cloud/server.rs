//! The server: a thread for each connection.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::answer::{Answer, Refusal};
use super::blocks::Blocks;
use super::call::Call;
use super::faults::Fault;
use super::http::{self, Request};
use super::keys::Keys;
use super::limits::{self, Limits};
use super::settings::Settings;
use super::time;
use super::world::World;

/// How long a request that hangs does so, unless its connection ends.
const HANG: Duration = Duration::from_secs(300);

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub action: String,
    pub region: String,
    pub path: String,
    pub key: String,
    pub status: u16,
    /// The error's code.
    pub code: String,
}

/// What all connections share.
pub struct Shared {
    pub address: SocketAddr,
    settings: Mutex<Arc<Settings>>,
    pub world: Mutex<World>,
    pub blocks: Blocks,
    pub keys: Mutex<Keys>,
    pub limits: Mutex<Limits>,
    pub seen: Mutex<Vec<Seen>>,
    pub is_over: AtomicBool,
    number: AtomicU64,
    hung: AtomicU64,
    active: AtomicU64,
    pub peak: AtomicU64,
}

impl Shared {
    /// Listens, and answers from now on.
    pub fn start(settings: Settings) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", settings.port)).unwrap();
        let shared = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            blocks: Blocks::new(settings.folder.as_deref()),
            settings: Mutex::new(Arc::new(settings)),
            world: Mutex::default(),
            keys: Mutex::default(),
            limits: Mutex::default(),
            seen: Mutex::default(),
            is_over: AtomicBool::new(false),
            number: AtomicU64::new(0),
            hung: AtomicU64::new(0),
            active: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if server.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(socket));
            }
        });
        shared
    }

    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap())
    }

    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(Arc::make_mut(&mut self.settings.lock().unwrap()));
    }

    /// The services' time.
    pub fn now(&self) -> SystemTime {
        let skew = self.settings().clock_skew;
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 {
            SystemTime::now() - by
        } else {
            SystemTime::now() + by
        }
    }

    /// How often each action was asked for.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for seen in self.seen.lock().unwrap().iter() {
            *calls.entry(seen.action.clone()).or_default() += 1;
        }
        calls
    }

    fn serve(&self, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        let mut wire = BufReader::new(socket);
        let mut spare = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(request) = http::read(&mut wire, &mut spare) else {
                return;
            };
            if self.one(wire.get_mut(), request, &mut spare).is_none() {
                let _ = wire.get_ref().shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Answers a request; none where the connection is over.
    fn one(&self, socket: &mut TcpStream, request: Request, spare: &mut Vec<u8>) -> Option<()> {
        if request.path.starts_with("/-/") {
            return http::send(socket, &self.own(&request)).ok();
        }
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(active, Ordering::SeqCst);
        let (answer, fault) = self.answer(request, spare);
        std::thread::sleep(self.settings().latency);
        self.active.fetch_sub(1, Ordering::SeqCst);
        self.respond(socket, &answer, fault)
    }

    fn respond(&self, socket: &mut TcpStream, answer: &Answer, fault: Option<Fault>) -> Option<()> {
        match fault {
            None | Some(Fault::Internal | Fault::InternalAfter | Fault::Throttle) => {
                http::send(socket, answer).ok()
            }
            Some(Fault::Slow) => {
                let pause = self
                    .settings()
                    .faults
                    .map_or(Duration::ZERO, |plan| plan.pause);
                http::send_slowly(socket, answer, pause).ok()
            }
            Some(Fault::Cut) => {
                let _ = http::send_half(socket, answer);
                None
            }
            Some(Fault::Hang) => {
                // Ends when the client goes away.
                let _ = socket.set_read_timeout(Some(HANG));
                let _ = std::io::Read::read(socket, &mut [0]);
                None
            }
            Some(Fault::Reset | Fault::ResetAfter) => None,
        }
    }

    fn answer(&self, request: Request, spare: &mut Vec<u8>) -> (Answer, Option<Fault>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let path = request.path.clone();
        let mut call = Call::new(self, request, id.clone());
        let fault = self.fault(number);
        let outcome = match call.authorize() {
            Err(refusal) => Err(refusal),
            Ok(()) => self.done(&mut call, fault),
        };
        *spare = std::mem::take(&mut call.request.body);
        let (answer, code) = match outcome {
            Ok(answer) => (answer, String::new()),
            Err(refusal) => (refusal.answer(&call.service, &id), refusal.code),
        };
        self.seen.lock().unwrap().push(Seen {
            at: Instant::now(),
            action: call.action,
            region: call.region,
            path,
            key: call.key,
            status: answer.status,
            code,
        });
        let answer = answer
            .with("x-amzn-RequestId", id)
            .with("Date", httpdate::fmt_http_date(call.now));
        (answer, fault)
    }

    fn done(&self, call: &mut Call, fault: Option<Fault>) -> Result<Answer, Refusal> {
        let failed = {
            let code = match call.service.as_str() {
                "ec2" => "InternalError",
                _ => "InternalServerException",
            };
            Refusal::new(500, code, "An internal error has occurred")
        };
        match fault {
            Some(Fault::Internal | Fault::Reset) => return Err(failed),
            Some(Fault::Throttle) => return Err(limits::throttled(&call.action, 0, 1)),
            _ => {}
        }
        let (region, object) = (&call.region, &call.object);
        let rates = &call.settings.rates;
        let mut limits = self.limits.lock().unwrap();
        limits.take(&call.action, region, object, rates)?;
        drop(limits);
        let answer = call.answer();
        match fault {
            Some(Fault::InternalAfter) => Err(failed),
            _ => answer,
        }
    }

    fn fault(&self, number: u64) -> Option<Fault> {
        let plan = self.settings().faults?;
        let fault = plan.fault(number, self.hung.load(Ordering::Relaxed));
        if fault == Some(Fault::Hang) {
            self.hung.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }

    /// How many blocks were put, in how many seconds, by how many requests at a time.
    fn puts(&self) -> serde_json::Value {
        let seen = self.seen.lock().unwrap();
        let puts = seen
            .iter()
            .filter(|one| one.action == "ebs:PutSnapshotBlock");
        let times: Vec<Instant> = puts.map(|one| one.at).collect();
        let span = match (times.iter().min(), times.iter().max()) {
            (Some(first), Some(last)) => last.duration_since(*first).as_secs_f64(),
            _ => 0.0,
        };
        let peak = self.peak.load(Ordering::SeqCst);
        json!({"puts": times.len(), "seconds": span, "peak": peak})
    }

    /// Pages of the fake itself, and a container's keys.
    fn own(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/-/calls" => Answer::json(200, &json!(self.calls())),
            "/-/puts" => Answer::json(200, &self.puts()),
            "/-/forget" => {
                self.seen.lock().unwrap().clear();
                self.peak.store(0, Ordering::SeqCst);
                Answer::json(200, &json!({}))
            }
            "/-/keys" => {
                let made = self
                    .keys
                    .lock()
                    .unwrap()
                    .session(&self.settings(), self.now());
                let keys = json!({
                    "AccessKeyId": made.key,
                    "SecretAccessKey": made.secret,
                    "Token": made.token,
                    "Expiration": time::iso(made.ends),
                });
                Answer::json(200, &keys)
            }
            _ => Answer::new(404),
        }
    }
}
