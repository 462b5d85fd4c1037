//! Tests: the life of a lease, on a network whose DHCP servers are a test's.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::config::qemu_with_netdev;
use super::{contains, pod};
use crate::support::i2kit;
use crate::support::segment::{ACK, Answer, Asked, DISCOVER, OFFER, REQUEST, Segment};
use crate::support::vm::{Bench, Vm, printed};

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const LAST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 66);

/// What the servers are up to.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// The first one answers, at first with rubbish, then with leases that are absurd in parts.
    Hostile,
    /// The first one is gone; the second renews its leases.
    Gone,
    /// Nobody answers.
    Silent,
    /// The second one grants a lease without end.
    Endless,
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

fn times(lease: u32, renew: u32, rebind: u32) -> Vec<u8> {
    let times = [(51, lease), (58, renew), (59, rebind)];
    times
        .iter()
        .flat_map(|(code, seconds)| option(*code, &seconds.to_be_bytes()))
        .collect()
}

/// OFFER for a DISCOVER, ACK for a REQUEST.
fn grant(asked: &Asked, from: Ipv4Addr, address: Ipv4Addr, more: &[u8]) -> Answer {
    let kind = if asked.kind == DISCOVER { OFFER } else { ACK };
    Answer::Message {
        from,
        kind,
        address,
        options: [&option(54, &from.octets()), more].concat(),
    }
}

/// No answer to go on with, many times over.
fn rubbish(asked: &Asked) -> Vec<Answer> {
    let with = |address, more: &[u8]| grant(asked, FIRST, address, more);
    let spoiled = |spoil: fn(&mut Vec<u8>)| Answer::Spoiled(Box::new(with(ADDRESS, &[])), spoil);
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.extend([
            spoiled(|bytes| bytes[236] = 0),
            spoiled(|bytes| *bytes.last_mut().unwrap() = 15),
            spoiled(|bytes| bytes[242] = 77),
            spoiled(|bytes| bytes[245..249].fill(0)),
            spoiled(|bytes| bytes.truncate(100)),
            spoiled(|bytes| bytes[4] ^= 1),
            spoiled(|bytes| bytes[33] ^= 1),
            with(Ipv4Addr::LOCALHOST, &[]),
            with(Ipv4Addr::BROADCAST, &[]),
            with(ADDRESS, &[121, 200, 32]),
            Answer::Frame(vec![0xff; 14]),
            Answer::Frame([&[0xff; 12][..], &[8, 0], &[0x4f; 30]].concat()),
        ]);
    }
    answers
}

/// Each part of it is wrong but the address and its server.
fn absurd() -> Vec<u8> {
    let mut options = times(0, 0, 0);
    for (code, value) in [
        (1, &[255, 0, 255, 0][..]),
        (6, &[0, 0, 0, 0]),
        (12, b"$(reboot)"),
        (15, b"x;reboot -f\nnameserver 6.6.6.6"),
        (26, &[0, 1]),
        (121, &[77, 1, 2, 3, 4]),
    ] {
        options.extend(option(code, value));
    }
    options
}

fn answers(mood: Mood, earlier: usize, asked: &Asked) -> Vec<Answer> {
    let is_renewal = asked.kind == REQUEST && !asked.has.is_unspecified();
    let granted = |from, address, more: &[u8]| vec![grant(asked, from, address, more)];
    match mood {
        Mood::Hostile if earlier == 0 => rubbish(asked),
        Mood::Hostile if is_renewal && asked.to == FIRST => granted(
            FIRST,
            ADDRESS,
            &[times(12, 4, 7), option(12, b"`id`")].concat(),
        ),
        Mood::Hostile => granted(FIRST, ADDRESS, &absurd()),
        Mood::Gone if is_renewal && asked.to == Ipv4Addr::BROADCAST => {
            granted(SECOND, ADDRESS, &times(12, 4, 7))
        }
        Mood::Endless => {
            let mut options = times(u32::MAX, u32::MAX, u32::MAX);
            options.extend(option(1, &[255, 255, 255, 0]));
            options.extend(option(3, &FIRST.octets()));
            options.extend(option(15, b"example.org"));
            granted(SECOND, LAST, &options)
        }
        Mood::Gone | Mood::Silent => Vec::new(),
    }
}

/// Tells each change of the address, until the last one is there.
const LOOK: &str = "old=; while true; do \
    new=$(ip -o -4 addr show eth0 | sed 's/.*inet //; s/ .*//'); \
    test \"$new\" = \"$old\" || echo \"address ${new:-none}\"; old=$new; \
    case $new in 10.9.0.66/*) break;; esac; sleep 0.2; done; \
    hostname; cat /etc/resolv.conf; ip route; cat /sys/class/net/eth0/mtu";

#[test]
fn a_lease_is_renewed_rebound_lost_and_found_whatever_its_servers_say() {
    let bench = Bench::new();
    let options = ["--scratch", "none"];
    let manifest = pod("restartPolicy: Never", &[("look", "", LOOK)]);
    let disk = bench.build(&manifest, "test.raw", &options);
    let mood = Arc::new(Mutex::new(Mood::Hostile));
    let set = |new| *mood.lock().unwrap() = new;
    let socket = bench.path("segment");
    let (shared, mut earlier) = (Arc::clone(&mood), 0);
    let segment = Segment::start(&socket, move |asked| {
        earlier += 1;
        answers(*shared.lock().unwrap(), earlier - 1, asked)
    });
    let netdev = format!(
        "stream,id=net,server=off,addr.type=unix,addr.path={}",
        socket.display()
    );
    let mut command = i2kit();
    command.arg("run").arg(&disk).args(["--timeout", "280"]);
    command.env("PATH", qemu_with_netdev(&bench, "", &netdev));
    let vm = Vm::start(command);

    vm.wait_for("[look] address 10.9.0.50/8");
    let renewal = segment.wait_for("renewal", |asked| asked.to == FIRST);
    set(Mood::Gone);
    let is_to_all = |asked: &Asked| asked.kind == REQUEST && asked.to == Ipv4Addr::BROADCAST;
    let is_rebinding = move |asked: &Asked| is_to_all(asked) && asked.has == ADDRESS;
    segment.wait_for("rebinding", is_rebinding);
    // The second server's lease is renewed there.
    let rebound = segment.wait_for("renewal", |asked| asked.to == SECOND);
    set(Mood::Silent);
    let lost = vm.wait_for("[look] address none");
    contains(&lost, &["i2kit: network: lease of eth0 lost"]);
    set(Mood::Endless);
    let (code, console) = vm.end();
    assert_eq!(code, 0, "{console}");

    let printed = printed(&console, "look");
    let expected = [
        "address 10.9.0.50/8",
        "address none",
        "address 10.9.0.66/24",
    ];
    assert_eq!(printed[..3], expected, "{console}");
    assert_eq!(printed[3..5], ["test", "search example.org"], "{console}");
    contains(&console, &["[look] default via 10.9.0.1", "[look] 1500"]);
    for bad in ["$(reboot)", "reboot -f", "6.6.6.6", "`id`"] {
        assert!(!console.contains(bad), "{bad}: {console}");
    }
    told_once(&console);
    timely(&renewal, &rebound);
    let asked = segment.asked();
    assert!(asked.iter().all(|asked| asked.hostname == b"test"));
    assert!(asked.len() < 60, "{asked:#?}");
}

/// Each kind of rubbish has one line, however much of it came.
fn told_once(console: &str) {
    for expected in [
        "a DHCP message ignored: it has no options",
        "a DHCP message ignored: it ends within an option",
        "a DHCP message ignored: it does not say what it is",
        "a DHCP message ignored: it grants an address that no machine can have",
        "a DHCP message ignored: it is an offer of nobody",
        "ignored of the lease: a length of less than 10 s; 10 s hold",
        "ignored of the lease: a netmask that is none; that of the address's class holds",
        "ignored of the lease: a name server that is no host",
        "ignored of the lease: a domain that is no DNS name",
        "ignored of the lease: an MTU of less than 576 bytes",
        "ignored of the lease: classless routes that are none; the router holds",
    ] {
        let line = format!("i2kit: network: eth0: {expected}");
        let count = console.lines().filter(|one| **one == line).count();
        assert_eq!(count, 1, "{line}: {console}");
    }
}

/// Renewed at half of what holds of a lease of 0 s, at the server alone; at all of them after T2 of
/// what was renewed.
fn timely(renewal: &[Asked], rebound: &[Asked]) {
    let pause = renewal[1].at - renewal[0].at;
    assert!(pause >= Duration::from_millis(900), "{pause:?}");
    let taken = renewal.iter().find(|asked| asked.kind == REQUEST).unwrap();
    let renewed = renewal.last().unwrap();
    assert_eq!((renewed.kind, renewed.has), (REQUEST, ADDRESS));
    let waited = renewed.at - taken.at;
    assert!(waited >= Duration::from_millis(4500), "{waited:?}");
    let to_all = rebound
        .iter()
        .rposition(|asked| asked.to == Ipv4Addr::BROADCAST)
        .unwrap();
    let [before, at] = [&rebound[to_all - 1], &rebound[to_all]];
    assert_eq!((before.to, at.has), (FIRST, ADDRESS));
    assert!(at.at - before.at >= Duration::from_millis(2500));
}
