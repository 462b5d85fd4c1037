//! Manifests of our own, after the features that the examples of Kubernetes' documentation and the
//! cases of `podman kube play` show. Each says in its comments what becomes of it: `want POINTER
//! VALUE` in the contract (RFC 6901; null for nothing), `note TEXT` among the notes, `refused TEXT`
//! in the error.

use std::collections::BTreeMap;
use std::path::Path;

use i2kit::assemble::contract::contract;
use i2kit::manifest::Secrets;
use i2kit_contract::FailurePolicy;
use oci_spec::image::ImageConfiguration;
use serde_json::{Value, json};

use super::*;

/// The contract as JSON, or the error, and the notes: as `i2kit build` without `--bake-secrets`.
fn compiled(text: &str) -> (Result<Value, String>, String) {
    let loaded = read(text);
    let told = told(&loaded);
    let Ok((mut pod, _)) = loaded else {
        return (Err(told), String::new());
    };
    pod.secrets = Secrets::default();
    let image = json!({"architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": ["/start"], "Cmd": ["serve"]},
        "rootfs": {"type": "layers", "diff_ids": []}});
    let image: ImageConfiguration = serde_json::from_value(image).unwrap();
    let images: BTreeMap<_, _> = pod
        .all_containers()
        .map(|one| (one.name.clone(), image.clone()))
        .collect();
    let contract = contract(&pod, &images, &|_, _| Ok(None), FailurePolicy::PowerOff);
    let contract = contract.map_err(|error| error.to_string());
    (contract.map(|one| serde_json::to_value(one).unwrap()), told)
}

/// What is not as the comment says.
fn objection(claim: &str, outcome: &Result<Value, String>, notes: &str) -> Option<String> {
    let (verb, rest) = claim.split_once(' ')?;
    match (verb, outcome) {
        ("want", Ok(contract)) => {
            let (pointer, value) = rest.split_once(' ').expect("POINTER VALUE");
            let wanted: Value = serde_json::from_str(value).expect("a value in JSON");
            let got = contract.pointer(pointer).unwrap_or(&Value::Null);
            (*got != wanted).then(|| format!("{pointer} is {got}, not {wanted}"))
        }
        ("note", Ok(_)) => (!notes.contains(rest)).then(|| format!("notes are {notes}")),
        ("refused", Err(error)) => {
            (!error.contains(rest)).then(|| format!("error is {error}, not {rest}"))
        }
        ("want" | "note", Err(error)) => Some(format!("error is {error}")),
        ("refused", Ok(_)) => Some(format!("it was taken, not refused with {rest}")),
        _ => None,
    }
}

#[test]
fn each_example_is_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest/examples");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 60, "{}", files.len());
    let mut wrong = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let (outcome, notes) = compiled(&text);
        let claims: Vec<_> = text
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .collect();
        // The first line is for people.
        assert!(claims.len() > 1, "{name} says nothing");
        for claim in &claims[1..] {
            if let Some(objection) = objection(claim, &outcome, &notes) {
                wrong += &format!("{name}: {objection}\n");
            }
        }
        // What is refused says so, and nothing is noted or refused unsaid.
        let verbs = ["want ", "note ", "refused "];
        for claim in &claims[1..] {
            assert!(
                verbs.iter().any(|verb| claim.starts_with(verb)),
                "{name}: {claim}"
            );
        }
        if outcome.is_err() && !claims.iter().any(|one| one.starts_with("refused ")) {
            wrong += &format!("{name}: is refused\n");
        }
        for note in notes.lines().filter(|line| line.starts_with("note ")) {
            let said = claims.iter().filter_map(|one| one.strip_prefix("note "));
            if !said.into_iter().any(|one| note.contains(one)) {
                wrong += &format!("{name}: says nothing of {note}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
