//! Every fuzz target over its seeds, the inputs kept in `fuzz/corpus/` and mutations of both, with a
//! stable compiler: what once broke a parser is tried on every run, and each target is seen working.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{seeds, targets};

/// Mutations of each input: enough to reach the checks behind the first one, in a second or two.
const MUTATIONS: u64 = 200;

fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let Ok(entries) = fs::read_dir(folder.join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A xorshift generator: the same mutations on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

fn mutate(input: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=chance.below(4) {
        if out.is_empty() {
            break;
        }
        let at = chance.below(out.len());
        match chance.below(4) {
            0 => out[at] ^= 1 << chance.below(8),
            1 => out[at] = [0, 0xff, 0x7f, 0x80][chance.below(4)],
            2 => out.truncate(at),
            _ => {
                let end = out.len().min(at + 1 + chance.below(16));
                let piece = out[at..end].to_vec();
                let to = chance.below(out.len());
                out.splice(to..to, piece);
            }
        }
    }
    out
}

#[test]
fn every_target_takes_its_seeds_what_was_kept_and_mutations_of_both() {
    for (name, target) in targets::ALL {
        let mut inputs = seeds::of(name);
        assert!(!inputs.is_empty(), "{name} has no seed");
        inputs.extend(kept(name));
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        for input in &inputs {
            target(input);
            for _ in 0..MUTATIONS {
                target(&mutate(input, &mut chance));
            }
        }
    }
}

#[test]
fn each_target_has_its_binary() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    for (name, _) in targets::ALL {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "fuzz/Cargo.toml lacks {name}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets::ALL.len());
}
