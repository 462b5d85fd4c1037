//! Random stacks of layers over a handful of names.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::{Built, Layer, differences, now};
use crate::support::containerd::Containerd;
use crate::support::layout::{self, Compression};
use crate::support::listing;
use crate::support::tarball::{Dialect, Item, Kind, archive};
use crate::support::vm::Bench;

const STACKS: usize = 60;

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("c"), 1 => Just("d")]
}

fn path() -> impl Strategy<Value = String> {
    vec(name(), 1..4).prop_map(|names| names.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![3 => Just(""), 1 => Just("/"), 1 => Just("../"), 1 => Just("../../")];
    (prefix, path()).prop_map(|(prefix, path)| format!("{prefix}{path}"))
}

fn with_name(path: &str, change: impl FnOnce(&str) -> String) -> String {
    match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/{}", change(name)),
        None => change(path),
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..9).prop_map(Kind::File),
        6 => Just(Kind::Dir),
        3 => target().prop_map(|target| Kind::Symlink(target.into_bytes())),
        3 => path().prop_map(|target| Kind::Link(target.into_bytes())),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Char(1, 5)),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let plain = (path(), kind(), 0u32..0o1000, 0u64..3, 0i64..1_000_000);
    let plain = plain.prop_map(|(path, kind, mode, owner, mtime)| {
        Item::new(path, kind)
            .mode(mode)
            .owner(owner, 2 - owner)
            .mtime(mtime, 0)
    });
    let whiteout = path().prop_map(|path| with_name(&path, |name| format!(".wh.{name}")));
    let opaque = path().prop_map(|path| with_name(&path, |_| ".wh..wh..opq".to_owned()));
    prop_oneof![
        12 => plain,
        2 => whiteout.prop_map(|path| Item::file(path, "")),
        1 => opaque.prop_map(|path| Item::file(path, "")),
    ]
}

/// containerd sets directories' times once the layer is unpacked, by path. What has become of
/// such a path by then gets the time, and fails if it is gone; i2kit knows the directory itself.
/// So a layer here unpacks no directory whose path, through links too, changes afterwards.
fn settled(layer: Vec<Item>) -> Vec<Item> {
    let (directories, others): (Vec<_>, Vec<_>) =
        layer.into_iter().partition(|item| item.kind == Kind::Dir);
    others.into_iter().chain(directories).collect()
}

/// Most hard links to a random path lead nowhere: they get the last file before them, if any.
fn linked(mut stack: Vec<Vec<Item>>) -> Vec<Vec<Item>> {
    let mut last = None;
    for item in stack.iter_mut().flatten() {
        match &mut item.kind {
            Kind::File(_) if !item.path.starts_with(b".wh.") => last = Some(item.path.clone()),
            Kind::Link(target) => {
                *target = last.clone().unwrap_or_else(|| std::mem::take(target));
            }
            _ => {}
        }
    }
    stack
}

fn stack() -> impl Strategy<Value = Vec<Vec<Item>>> {
    vec(vec(item(), 1..7).prop_map(settled), 1..5).prop_map(linked)
}

fn image(stack: &[Vec<Item>]) -> Vec<Layer> {
    let compressions = [Compression::None, Compression::Zstd, Compression::Gzip];
    let layers = stack.iter().zip(compressions.iter().cycle());
    layers
        .map(|(items, compression)| (archive(items, Dialect::Pax), *compression))
        .collect()
}

fn show(stack: &[Vec<Item>]) -> String {
    let mut out = String::new();
    for (index, layer) in stack.iter().enumerate() {
        out.push_str(&format!("  layer {index}\n"));
        for item in layer {
            let path = item.path.escape_ascii();
            out.push_str(&format!(
                "    {path} {:?} {:o} {}\n",
                item.kind, item.mode, item.mtime.0
            ));
        }
    }
    out
}

/// What i2kit says against a stack.
fn refusal(bench: &Bench, layers: &[Layer]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    layout::write(folder.path(), layers, &json!({"Cmd": ["/x"]}));
    let output = bench
        .command("build")
        .arg("--from")
        .arg(format!("oci:{}", folder.path().display()))
        .arg("-o")
        .arg(folder.path().join("disk.raw"))
        .output()
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn random_stacks_unpack_as_containerd_unpacks_them() {
    let start = now();
    let count = std::env::var("I2KIT_STACKS").map_or(STACKS, |text| text.parse().unwrap());
    let mut runner = TestRunner::deterministic();
    let containerd = Containerd::start();
    let bench = Bench::new();
    let (mut images, mut expected) = (Vec::new(), BTreeMap::new());
    for index in 0..count {
        let stack = stack().new_tree(&mut runner).unwrap().current();
        let layers = image(&stack);
        let folder = tempfile::tempdir().unwrap();
        layout::write(folder.path(), &layers, &json!({}));
        match containerd.unpack(folder.path()) {
            Ok(theirs) => {
                let name = format!("stack-{index}");
                expected.insert(name.clone(), (listing::of(&theirs.path()), show(&stack)));
                images.push((name, layers));
            }
            Err(theirs) => assert!(
                refusal(&bench, &layers).is_some(),
                "only containerd refuses: {theirs}\n{}",
                show(&stack)
            ),
        }
    }
    let taken = images.len();
    assert!(
        taken * 4 > count,
        "only {taken} stacks of {count} are taken"
    );
    let built = Built::new(&images);
    for (name, (theirs, stack)) in &expected {
        let found = differences(&built.listing(name), theirs, start);
        assert!(found.is_empty(), "{}\n{stack}", found.join("\n"));
    }
}
