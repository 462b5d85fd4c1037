//! Tests: the papers in and beside a disk.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::papers::judge;
use crate::support::vm::Bench;
use crate::support::{i2kit, output_of, samples};

const NGINX: &str = include_str!("../../fixtures/manifests/nginx.yaml");

fn sbom(disk: &Path, format: &str) -> Vec<u8> {
    let mut command = i2kit();
    command.arg("sbom").arg(disk).args(["--format", format]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    output.stdout
}

fn names(packages: &Value) -> Vec<String> {
    let packages = packages.as_array().unwrap().iter();
    let mut out: Vec<String> = packages
        .map(|one| {
            format!(
                "{} {}",
                one["name"].as_str().unwrap(),
                one["version"].as_str().unwrap_or("")
            )
        })
        .collect();
    out.sort();
    out
}

/// What the sample was made of, by its own record.
fn recorded(layout: &str) -> Vec<String> {
    let path = Path::new(layout.strip_prefix("oci:").unwrap()).join("record.json");
    let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    names(&record["packages"])
}

#[test]
fn a_disk_says_what_is_in_its_containers_and_its_base() {
    let bench = Bench::new();
    let disk = bench.build(NGINX, "disk.raw", &[]);
    let (spdx, bom) = (sbom(&disk, "spdx"), sbom(&disk, "cyclonedx"));
    let (one, other) = (bench.path("a.spdx.json"), bench.path("b.cdx.json"));
    fs::write(&one, &spdx).unwrap();
    fs::write(&other, &bom).unwrap();
    judge(&one, &other);
    let bom: Value = serde_json::from_slice(&bom).unwrap();
    let web = &bom["components"][1];
    assert_eq!(web["name"], "web");
    assert_eq!(web["description"], "Debian GNU/Linux 12 (bookworm)");
    // The upper layer's database counts: it has what the lower one's has not.
    assert_eq!(
        names(&web["components"]),
        recorded(&samples::sample("nginx"))
    );
    let base = &bom["components"][0];
    let of_base = names(&base["components"]);
    for package in recorded(&samples::base()) {
        assert!(of_base.contains(&package), "{package}");
    }
    for program in ["stdlib 1.19.8", "github.com/opencontainers/runc "] {
        assert!(
            of_base.contains(&program.to_owned()),
            "{program}: {of_base:?}"
        );
    }
    let components = base["components"].as_array().unwrap();
    let tls = components
        .iter()
        .find(|one| one["name"] == "ca-certificates");
    assert_eq!(
        tls.unwrap()["licenses"][0]["expression"],
        "GPL-2.0-or-later AND MPL-2.0"
    );

    // What a container is told changes nothing of it.
    let changed = format!("{NGINX}      args: [\"-v\"]\n      env: [{{name: A, value: b}}]\n");
    let again = bench.build(&changed, "changed.raw", &[]);
    assert_eq!(sbom(&again, "spdx"), spdx);
}

#[test]
fn two_containers_of_one_image_and_an_image_without_packages() {
    let bench = Bench::new();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - {name: a, image: nginx}\n    - {name: b, image: nginx, command: [sh]}\n    - {name: c, image: tiny}\n";
    let disk = bench.build(pod, "disk.raw", &[]);
    let bom: Value = serde_json::from_slice(&sbom(&disk, "cyclonedx")).unwrap();
    let part = |at: usize| {
        names(
            &bom["components"][at]
                .get("components")
                .cloned()
                .unwrap_or(Value::Array(Vec::new())),
        )
    };
    assert!(part(1).len() > 100);
    assert_eq!(part(1), part(2));
    assert_eq!(part(3), [""; 0]);
}

#[test]
fn provenance_names_the_disk_and_what_it_was_made_of() {
    let bench = Bench::new();
    let disk = bench.build(NGINX, "disk.raw", &["--provenance"]);
    let path = bench.path("disk.raw.provenance.json");
    let script = "import sys\nfrom google.protobuf import json_format\nimport in_toto_attestation.v1.statement_pb2 as pb\nfrom in_toto_attestation.v1.statement import Statement\nimport in_toto_attestation.predicates.provenance.v1.provenance_pb2 as pv\nstatement = json_format.Parse(open(sys.argv[1]).read(), pb.Statement())\nStatement.copy_from_pb(statement).validate()\njson_format.ParseDict(json_format.MessageToDict(statement.predicate), pv.Provenance())";
    let python = samples::python_oracle("python");
    output_of(&python, &["-c", script, path.to_str().unwrap()]);
    let bytes = fs::read(&path).unwrap();
    let statement: Value = serde_json::from_slice(&bytes).unwrap();
    let sum = output_of("sha256sum", &[disk.to_str().unwrap()]);
    assert_eq!(statement["subject"][0]["name"], "disk.raw");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        sum.split(' ').next().unwrap()
    );
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["pod"], "nginx");
    let materials = definition["resolvedDependencies"].as_array().unwrap();
    let named: Vec<_> = materials
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["base", "docker.io/library/nginx", "i2kit-init"]);
    for material in materials {
        assert_eq!(material["digest"]["sha256"].as_str().unwrap().len(), 64);
    }
    // An unchanged disk is not written again, but its statement is when it is asked for.
    fs::remove_file(&path).unwrap();
    bench.build(NGINX, "disk.raw", &["--provenance"]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
