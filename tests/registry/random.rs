//! Two hundred pulls through faults drawn at random, the same each time: each ends with the right
//! bytes or a clear error, in time, and leaves a cache that serves the next.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule, TOKEN, Tokens};

const RUNS: u64 = 200;
const PASSWORD: &str = "hunter2-password";

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn size(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }

    fn fault(&mut self) -> Fault {
        match self.below(17) {
            0..=2 => Fault::Cut(self.size(60_000)),
            3 => Fault::Stall(self.size(60_000)),
            4 => Fault::Trickle(Duration::from_millis(2)),
            5 => Fault::Drop,
            6 => Fault::Silent,
            7 => Fault::Garbage,
            8 => Fault::Length(i64::try_from(self.below(200)).unwrap() - 100),
            9 => Fault::Corrupt(self.size(2000)),
            10 => Fault::Chunked,
            11 => Fault::IgnoreRange,
            12 => Fault::ShiftRange(1 + self.below(50)),
            13 => {
                let status = [301, 401, 403, 404, 408, 416, 429, 500, 502, 503];
                let status = status[self.size(10)];
                let answer = Response::error(status, "UNKNOWN", "drawn at random");
                Fault::Answer(answer.with("Retry-After", self.below(90).to_string()))
            }
            14 => {
                let target = [
                    "/v2/",
                    "/nowhere",
                    "http://127.0.0.1:1/",
                    "/v2/team/app/blobs/x",
                ];
                let target = target[self.size(4)];
                Fault::Answer(Response::new(307).with("Location", target))
            }
            15 => Fault::CutChunk(self.size(60_000)),
            _ => Fault::Header("Content-Range", "bytes 5-9/10".to_owned()),
        }
    }

    fn rule(&mut self) -> Rule {
        let path = [
            "/v2/",
            "/manifests/",
            "/blobs/",
            "/blobs/",
            "/blobs/",
            "/token",
        ];
        let rule = Rule::new(path[self.size(6)], self.fault());
        let rule = rule.skip(self.size(4));
        match self.below(8) {
            0 => rule,
            times => rule.times(1 + usize::try_from(times).unwrap() / 3),
        }
    }

    fn auth(&mut self, tokens: &Tokens) -> Auth {
        match self.below(4) {
            0 => Auth::Basic {
                username: "me".to_owned(),
                password: PASSWORD.to_owned(),
            },
            1 => {
                tokens.uses(2 + self.size(4));
                tokens.user("me", PASSWORD);
                Auth::Bearer { realm: None }
            }
            _ => Auth::Nothing,
        }
    }
}

fn hasty(ranges: bool) -> Options {
    let mut options = options();
    options.timeouts.idle = Duration::from_millis(60);
    options.timeouts.response = Duration::from_millis(120);
    options.timeouts.rate_window = Duration::from_millis(80);
    options.retry.attempts = 3;
    if ranges {
        options.ranges = Ranges {
            threshold: 20_000,
            chunk: 9_000,
            streams: 3,
        };
    }
    options
}

/// An image, and what comes of it.
struct Sample {
    _folder: tempfile::TempDir,
    layout: PathBuf,
    expected: Vec<(String, String, usize)>,
}

/// True when the first pull already went well.
fn run(seed: u64, samples: &[Sample]) -> bool {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        dice.below(2);
    }
    let sample = &samples[dice.size(samples.len() as u64)];
    let tokens: Arc<Tokens> = Arc::default();
    let registry = Registry::sharing(&tokens);
    registry.load(&sample.layout, NAME);
    registry.set_auth(dice.auth(&tokens));
    let rules: Vec<_> = (0..=dice.below(3)).map(|_| dice.rule()).collect();
    registry.script(rules.clone());
    let desk = Desk::with(hasty(dice.below(2) == 0), password("me", PASSWORD));
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(desk.source(repository(&registry)));
    let first = convert(source, folder.path());
    match &first {
        Ok(layers) => assert!(contents(layers) == sample.expected, "{seed}: {rules:?}"),
        Err(error) => {
            let names_it = error.contains("sha256:") || error.contains("registry.test/team/app");
            assert!(names_it && error.contains(": "), "{seed}: {error}");
            for secret in [PASSWORD, TOKEN] {
                assert!(!error.contains(secret), "{seed}: {error}");
            }
        }
    }
    let draft = folder.path().join("v1/tmp");
    assert!(!draft.exists() || left_in(folder.path()) == 0, "{seed}");
    // Once the trouble is over, the same cache serves.
    registry.script([]);
    let desk = Desk::with(options(), password("me", PASSWORD));
    let source = Arc::new(desk.source(repository(&registry)));
    let second = convert(source, folder.path()).unwrap_or_else(|error| panic!("{seed}: {error}"));
    assert!(contents(&second) == sample.expected, "{seed}");
    first.is_ok()
}

#[test]
fn two_hundred_random_faults() {
    let sizes: [&[usize]; 3] = [
        &[100],
        &[80_000, 3_000, 30_000],
        &[50_000, 50_000, 1, 20_000],
    ];
    let samples: Vec<_> = sizes
        .iter()
        .map(|sizes| {
            let folder = tempfile::tempdir().unwrap();
            let layout = image(folder.path(), sizes);
            Sample {
                expected: expected(&layout),
                layout,
                _folder: folder,
            }
        })
        .collect();
    let (next, good) = (AtomicU64::new(0), AtomicUsize::new(0));
    let slowest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let seed @ ..RUNS = next.fetch_add(1, Ordering::Relaxed) {
                    let begin = Instant::now();
                    if run(seed, &samples) {
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                    let took = begin.elapsed();
                    assert!(took < Duration::from_secs(20), "{seed}: {took:?}");
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = slowest.max(took);
                }
            });
        }
    });
    let good = good.into_inner();
    println!("{good} of {RUNS} went well at once, the slowest took {slowest:?}");
    assert!(
        (40..180).contains(&good),
        "{good} of {RUNS}: the faults do nothing or everything"
    );
}
