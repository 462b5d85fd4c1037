"""Judges an SPDX and a CycloneDX document by their own projects' tools: SPDX CYCLONEDX."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

found = []


def purl(text):
    again = PackageURL.from_string(text).to_string()
    if again != text:
        found.append(f"package URL {text} is {again}")


document = parse_file(sys.argv[1])
for message in validate_full_spdx_document(document):
    found.append(f"SPDX: {message.validation_message} ({message.context.full_element or message.context.spdx_id})")
for package in document.packages:
    for reference in package.external_references:
        purl(reference.locator)

with open(sys.argv[2], encoding="utf-8") as file:
    text = file.read()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if error is not None:
    found.append(f"CycloneDX: {error}")


def walk(components):
    for component in components:
        if "purl" in component:
            purl(component["purl"])
        walk(component.get("components", []))


walk(json.loads(text)["components"])
for line in found[:20]:
    print(line)
sys.exit(1 if found else 0)
