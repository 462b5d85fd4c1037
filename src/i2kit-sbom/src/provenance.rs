//! How a disk was built: an in-toto statement (in-toto attestation framework, Statement v1) with SLSA
//! provenance (slsa.dev/spec/v1.0/provenance).

use std::collections::BTreeMap;

use serde::Serialize;

/// The statement's media type in an envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What `buildType` names: the fields of `externalParameters` and their meaning.
pub const BUILD_TYPE: &str = "https://i2kit.dev/provenance/disk/v1";
/// What `builder.id` names: a build on whatever machine i2kit was run.
pub const BUILDER: &str = "https://i2kit.dev/provenance/builder/local/v1";

/// Digests by algorithm, in hex: `sha256`.
pub type DigestSet = BTreeMap<&'static str, String>;

/// A statement about a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    predicate_type: &'static str,
    predicate: Predicate,
}

/// A thing that digests name (in-toto's ResourceDescriptor).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it comes from, as a URI.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Its digests.
    pub digest: DigestSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    external_parameters: serde_json::Value,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RunDetails {
    builder: Builder,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Builder {
    id: &'static str,
    version: BTreeMap<&'static str, String>,
}

/// What a build is told about.
pub struct Build {
    /// What was built.
    pub subject: Vec<Resource>,
    /// What the user asked for.
    pub parameters: serde_json::Value,
    /// What it was made of.
    pub materials: Vec<Resource>,
    /// i2kit's version.
    pub version: String,
}

impl Statement {
    /// The statement about a build.
    #[must_use]
    pub fn new(build: Build) -> Self {
        Self {
            kind: "https://in-toto.io/Statement/v1",
            subject: build.subject,
            predicate_type: "https://slsa.dev/provenance/v1",
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE,
                    external_parameters: build.parameters,
                    resolved_dependencies: build.materials,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: BUILDER,
                        version: BTreeMap::from([("i2kit", build.version)]),
                    },
                },
            },
        }
    }

    /// Its bytes: the same statement always gives the same.
    ///
    /// # Errors
    /// None in practice; serialising these types cannot fail.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}
