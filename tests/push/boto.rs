//! The fake is what Amazon's own client expects, and refuses what it must.

use std::process::Command;
use std::time::Duration;

use super::account::Account;
use crate::support::cloud::world::User;
use crate::support::cloud::{Fake, REGION, Settings};
use crate::support::samples;
use crate::support::small::succeeded;

#[test]
fn boto3_finds_the_fake_strict() {
    let fake = Fake::start(Settings {
        empty_pages: true,
        ..Settings::default()
    });
    // Its tests of rates are others.
    fake.change(|settings| {
        settings.rates.start = 1000;
        settings.rates.complete = 1000;
        settings.rates.list = 1000;
        settings.rates.other = 1000;
    });
    let image = |number: u32| format!("ami-0{number}");
    let users = [
        ("i-1", User::Instance(image(1), "running")),
        ("i-2", User::Instance(image(2), "terminated")),
        ("lt-1", User::Template(vec![image(3), image(4)], 1)),
        ("configuration", User::LaunchConfiguration(image(5))),
        ("group", User::Group("lt-1".to_owned())),
    ];
    for (id, user) in users {
        fake.add_user(REGION, id, user);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push/boto.py");
    let mut command = Command::new(samples::python_oracle("python"));
    let output = command
        .arg(script)
        .env_clear()
        .envs(fake.environment())
        .output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 9, "{text}");
}

/// moto's blocks have 512 bytes: what cannot be pushed there is refused, and cleaned up.
#[test]
fn a_service_with_other_blocks_is_refused() {
    let account = Account::with(Settings {
        block_size: 512,
        ..Settings::default()
    });
    let text = account.refused(&mut account.push(&[]));
    assert!(text.contains("512"), "{text}");
    account.assert_nothing_is_left();
}

#[test]
fn moto_is_refused_over_its_blocks() {
    let account = Account::new();
    let moto = Moto::start();
    let mut command = account.push(&[]);
    command.env("AWS_ENDPOINT_URL", &moto.origin);
    let text = account.refused(&mut command);
    assert!(text.contains("512"), "{text}");
}

/// What moto has of EC2, Auto Scaling and SSM is read as Amazon's is.
#[test]
fn moto_lists_and_prunes() {
    let account = Account::new();
    let moto = Moto::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push/moto.py");
    let output = Command::new(samples::python_oracle("python"))
        .arg(script)
        .env_clear()
        .envs(account.fake.environment())
        .env("AWS_ENDPOINT_URL", &moto.origin)
        .output();
    let made = String::from_utf8(output.unwrap().stdout).unwrap();
    let made: Vec<&str> = made.split_whitespace().collect();
    let ask = |words: &[&str]| -> serde_json::Value {
        let (command, rest) = words.split_first().unwrap();
        let mut command = account.on("one", command);
        command.args(rest).env("AWS_ENDPOINT_URL", &moto.origin);
        serde_json::from_str(&succeeded(&account.run(&mut command))).unwrap()
    };
    let versions = |images: &serde_json::Value| -> Vec<u64> {
        let images = images.as_array().unwrap().iter();
        images.map(|one| one["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(versions(&ask(&["images", "--json"])), [3, 2, 1]);
    let pruned = ask(&["prune", "--keep", "0", "--json"]);
    assert_eq!(pruned["removed"][0]["ami"], made[2], "{pruned}");
    assert_eq!(pruned["kept"].as_array().unwrap().len(), 2, "{pruned}");
    assert!(
        pruned["kept"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["why"] == "in_use"),
        "{pruned}"
    );
    assert_eq!(versions(&ask(&["images", "--json"])), [2, 1]);
}

/// moto's server on a free port.
struct Moto {
    child: std::process::Child,
    origin: String,
}

impl Moto {
    fn start() -> Self {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut command = Command::new(samples::python_oracle("moto_server"));
        let command = command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let command = command.stdout(std::process::Stdio::null());
        let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let origin = format!("http://127.0.0.1:{port}");
        let moto = Self { child, origin };
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return moto;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("moto's server does not listen");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
