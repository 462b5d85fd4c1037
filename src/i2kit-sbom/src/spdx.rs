//! SPDX 2.3 in JSON (spdx.github.io/spdx-spec/v2.3; schema `spdx-schema.json` of that release).

use serde::Serialize;

use crate::bill::{Bill, Component, Part, PartKind};
use crate::{content, time};

const NONE: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const POD: &str = "SPDXRef-Pod";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<String>,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    license_concluded: &'static str,
    license_declared: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_comments: Option<String>,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotation {
    annotation_date: String,
    annotation_type: &'static str,
    annotator: String,
    comment: String,
}

/// The bill as a document. Equal bills give equal bytes: its namespace follows from its content.
///
/// # Errors
/// None in practice; serialising these types cannot fail.
pub fn write(bill: &Bill) -> Result<Vec<u8>, serde_json::Error> {
    let mut document = document(bill);
    let uuid = content::uuid(&serde_json::to_vec(&document)?);
    let name: String = bill.name.chars().map(id_char).collect();
    document.document_namespace = format!("https://spdx.org/spdxdocs/i2kit-{name}-{uuid}");
    let mut json = serde_json::to_vec_pretty(&document)?;
    json.push(b'\n');
    Ok(json)
}

fn document(bill: &Bill) -> Document {
    let created = time::rfc3339(bill.created);
    let tool = format!("Tool: i2kit-{}", bill.tool_version);
    let mut packages = vec![Package {
        id: POD.to_owned(),
        name: bill.name.clone(),
        primary_package_purpose: Some("OPERATING-SYSTEM"),
        ..plain()
    }];
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", POD)];
    let mut annotations = Vec::new();
    for part in &bill.parts {
        let image = image(part);
        relationships.push(relationship(POD, "CONTAINS", &image.id));
        for component in part.components() {
            let package = package(part, component);
            relationships.push(relationship(&image.id, "CONTAINS", &package.id));
            packages.push(package);
        }
        annotations.extend(part.unread.iter().map(|unread| Annotation {
            annotation_date: created.clone(),
            annotation_type: "OTHER",
            annotator: tool.clone(),
            comment: format!(
                "{}: not read: {}: {}",
                part.name, unread.path, unread.reason
            ),
        }));
        packages.push(image);
    }
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: bill.name.clone(),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created,
            creators: vec![tool],
        },
        packages,
        relationships,
        annotations,
    }
}

/// What is said of every package.
fn plain() -> Package {
    Package {
        download_location: NONE,
        license_concluded: NONE,
        license_declared: NONE.to_owned(),
        copyright_text: NONE,
        ..Package::default()
    }
}

fn image(part: &Part) -> Package {
    let kind = match part.kind {
        PartKind::Base => "Base",
        PartKind::Container => "Container",
        PartKind::Volume => "Volume",
    };
    let name: String = part.name.chars().map(id_char).collect();
    Package {
        id: format!("SPDXRef-{kind}-{name}"),
        name: part.name.clone(),
        version_info: part.digest.clone(),
        comment: part.distribution.clone(),
        external_refs: vec![purl(part.purl.to_string())],
        primary_package_purpose: Some("CONTAINER"),
        ..plain()
    }
}

fn package(part: &Part, component: &Component) -> Package {
    let package = &component.package;
    let source = package.source.as_ref().map(|source| {
        let version = source.version.as_deref().unwrap_or_default();
        format!("built from source package {} {version}", source.name)
    });
    let found = format!("found in {}", component.origins.join(", "));
    let supplier = package.supplier.as_deref().map(line);
    // What stands in brackets is an address, and a name has to come before it.
    let is_name = |one: &String| !one.starts_with('(') && one.contains(char::is_alphanumeric);
    let supplier = supplier.filter(is_name);
    let listed = package.spdx_licence();
    let other = package.licence.as_ref().filter(|_| listed.is_none());
    Package {
        id: format!("SPDXRef-Package-{}", content::id(part, package)),
        name: package.name.clone(),
        version_info: package.version.clone(),
        // Distributions name a person or an organisation alike.
        supplier: supplier.map(|one| format!("Organization: {one}")),
        source_info: Some(match source {
            Some(source) => format!("{}; {found}", source.trim_end()),
            None => found,
        }),
        license_declared: listed.unwrap_or(NONE).to_owned(),
        license_comments: other.map(|other| format!("declared as: {other}")),
        external_refs: vec![purl(package.purl.to_string())],
        ..plain()
    }
}

fn purl(locator: String) -> ExternalRef {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: locator,
    }
}

fn relationship(one: &str, kind: &'static str, other: &str) -> Relationship {
    Relationship {
        spdx_element_id: one.to_owned(),
        relationship_type: kind,
        related_spdx_element: other.to_owned(),
    }
}

/// Identifiers have letters, digits, `.` and `-`.
fn id_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || c == '.' {
        c
    } else {
        '-'
    }
}

/// `Name <address>` as SPDX writes it, in one line: `Name (address)`.
fn line(supplier: &str) -> String {
    let text: String = supplier
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text
        .trim()
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
    {
        Some((name, address)) if !name.trim().is_empty() => {
            format!("{} ({address})", name.trim())
        }
        _ => text.trim().to_owned(),
    }
}
