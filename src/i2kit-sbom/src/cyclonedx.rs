//! CycloneDX 1.6 in JSON (cyclonedx.org/docs/1.6/json; ECMA-424; schema `bom-1.6.schema.json`).

use serde::Serialize;

use crate::bill::{Bill, Component as Found, Part, PartKind};
use crate::{content, time};

const POD: &str = "pod";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom {
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Default, Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "String::is_empty")]
    bom_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
    #[serde(skip_serializing_if = "String::is_empty")]
    purl: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Licence {
    Expression(String),
    License { name: String },
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Evidence {
    occurrences: Vec<Occurrence>,
}

#[derive(Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: Vec<String>,
}

/// The bill as a BOM. Equal bills give equal bytes: its serial number follows from its content.
///
/// # Errors
/// None in practice; serialising these types cannot fail.
pub fn write(bill: &Bill) -> Result<Vec<u8>, serde_json::Error> {
    let mut bom = bom(bill);
    let uuid = content::uuid(&serde_json::to_vec(&bom)?);
    bom.serial_number = format!("urn:uuid:{uuid}");
    let mut json = serde_json::to_vec_pretty(&bom)?;
    json.push(b'\n');
    Ok(json)
}

fn bom(bill: &Bill) -> Bom {
    let tool = Component {
        kind: "application",
        name: "i2kit".to_owned(),
        version: bill.tool_version.clone(),
        ..Component::default()
    };
    let pod = Component {
        kind: "operating-system",
        bom_ref: POD.to_owned(),
        name: bill.name.clone(),
        ..Component::default()
    };
    let components: Vec<Component> = bill.parts.iter().map(image).collect();
    let depends_on = components.iter().map(|one| one.bom_ref.clone()).collect();
    Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: String::new(),
        version: 1,
        metadata: Metadata {
            timestamp: time::rfc3339(bill.created),
            tools: Tools {
                components: vec![tool],
            },
            component: pod,
        },
        components,
        dependencies: vec![Dependency {
            reference: POD.to_owned(),
            depends_on,
        }],
    }
}

fn image(part: &Part) -> Component {
    let kind = match part.kind {
        PartKind::Base => "base",
        PartKind::Container => "container",
        PartKind::Volume => "volume",
    };
    let unread = part.unread.iter().map(|one| Property {
        name: "i2kit:not-read",
        value: format!("{}: {}", one.path, one.reason),
    });
    Component {
        kind: "container",
        bom_ref: format!("{kind}/{}", part.name),
        name: part.name.clone(),
        version: part.digest.clone(),
        description: part.distribution.clone(),
        purl: part.purl.to_string(),
        properties: unread.collect(),
        components: part
            .components()
            .iter()
            .map(|one| package(part, one))
            .collect(),
        ..Component::default()
    }
}

fn package(part: &Part, found: &Found) -> Component {
    let package = &found.package;
    let licence = match (package.spdx_licence(), &package.licence) {
        (Some(expression), _) => Some(Licence::Expression(expression.to_owned())),
        (None, Some(name)) => Some(Licence::License { name: name.clone() }),
        (None, None) => None,
    };
    let mut properties = Vec::new();
    if let Some(source) = &package.source {
        let mut add = |name, value: &str| {
            let value = value.to_owned();
            properties.push(Property { name, value });
        };
        add("i2kit:source:name", &source.name);
        if let Some(version) = &source.version {
            add("i2kit:source:version", version);
        }
    }
    let occurrences = found.origins.iter().map(|origin| Occurrence {
        location: origin.clone(),
    });
    Component {
        kind: "library",
        bom_ref: format!("{}/{}", part.name, content::id(part, package)),
        publisher: package.supplier.clone(),
        name: package.name.clone(),
        version: package.version.clone(),
        licenses: licence.into_iter().collect(),
        purl: package.purl.to_string(),
        properties,
        evidence: Some(Evidence {
            occurrences: occurrences.collect(),
        }),
        ..Component::default()
    }
}
