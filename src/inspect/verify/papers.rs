//! The papers in the store, and that the UKI and they agree.

use i2kit_contract::{
    CONTAINERS, Contract, INPUTS_JSON, LABEL_ESP, LABEL_STORE, POD_JSON, SBOM_CYCLONEDX_JSON,
    SBOM_SPDX_JSON,
};
use i2kit_format::erofs::{FileType, Reader};
use i2kit_format::uki;
use serde_json::Value;

use super::{Error, Fault, Parts, esp};
use crate::assemble::cmdline::Own;
use crate::assemble::{KernelArgs, boot};
use crate::disk::Blob;

/// Checks contract, inputs record and bills of materials; `fec` is the command line's word for error
/// correction.
pub(super) fn check(parts: &Parts<'_>, store: &Blob, fec: Option<&str>) -> Result<(), Error> {
    let contract = Contract::from_json(&bytes(store, POD_JSON)?);
    let contract = contract.map_err(|error| fault(POD_JSON, error.to_string()))?;
    let inputs = json(store, INPUTS_JSON)?;
    check_pod(&contract, &inputs, store)?;
    let spdx = json(store, SBOM_SPDX_JSON)?;
    expect(SBOM_SPDX_JSON, &spdx, "spdxVersion", "SPDX-2.3")?;
    expect(SBOM_SPDX_JSON, &spdx, "name", &contract.name)?;
    let cyclonedx = json(store, SBOM_CYCLONEDX_JSON)?;
    expect(SBOM_CYCLONEDX_JSON, &cyclonedx, "specVersion", "1.6")?;
    check_os_release(parts, &inputs)?;
    check_cmdline(parts, &contract, &inputs, fec)
}

fn fault(file: &str, reason: impl Into<String>) -> Fault {
    Fault::new(LABEL_STORE, reason).file(format!("/{file}"))
}

fn bytes(store: &Blob, name: &str) -> Result<Vec<u8>, Error> {
    crate::inspect::record(store, name).map_err(|error| fault(name, error.to_string()).into())
}

fn json(store: &Blob, name: &str) -> Result<Value, Error> {
    let bytes = bytes(store, name)?;
    serde_json::from_slice(&bytes).map_err(|error| fault(name, error.to_string()).into())
}

fn expect(file: &str, json: &Value, field: &str, expected: &str) -> Result<(), Error> {
    match json.get(field).and_then(Value::as_str) {
        Some(found) if found == expected => Ok(()),
        found => {
            let found = found.unwrap_or("not there");
            Err(fault(file, format!("{field} is {found}, should be {expected}")).into())
        }
    }
}

/// The inputs record is the Pod's, and each container has a root and an image.
fn check_pod(contract: &Contract, inputs: &Value, store: &Blob) -> Result<(), Error> {
    expect(INPUTS_JSON, inputs, "pod", &contract.name)?;
    let control = inputs.get("control").and_then(Value::as_bool);
    if control != Some(contract.control) {
        let reason = format!(
            "control is {}, not what {INPUTS_JSON} says",
            contract.control
        );
        return Err(fault(POD_JSON, reason).into());
    }
    let reader = Reader::open(store)?;
    for container in contract.all_containers() {
        let name = &container.name;
        let image = inputs.get("containers").and_then(|all| all.get(name));
        if image.is_none() {
            let reason = format!("it names no image for container {name}");
            return Err(fault(INPUTS_JSON, reason).into());
        }
        let path = format!("{CONTAINERS}/{name}");
        let root = reader.lookup(path.as_bytes())?;
        if root.is_none_or(|root| root.file_type != FileType::Directory) {
            return Err(fault(&path, "it is not there").into());
        }
    }
    Ok(())
}

/// The UKI's os-release says what the inputs record gives: the image's version.
fn check_os_release(parts: &Parts<'_>, inputs: &Value) -> Result<(), Error> {
    let version = inputs.get("image_version").and_then(Value::as_u64);
    let image = uki::read(&parts.uki)?;
    let found = esp::section(&parts.uki, &image, ".osrel")?;
    if found == boot::os_release(version).trim_end() {
        return Ok(());
    }
    let fault = Fault::new(LABEL_ESP, "not what the inputs record gives").file(esp::UKI_PATH);
    Err(fault.structure(".osrel").into())
}

/// The command line says what the inputs record and the contract give, and nothing else.
fn check_cmdline(
    parts: &Parts<'_>,
    contract: &Contract,
    inputs: &Value,
    fec: Option<&str>,
) -> Result<(), Error> {
    let arguments = inputs.get("kernel_args").cloned().unwrap_or_default();
    let arguments: Vec<String> = serde_json::from_value(arguments)
        .map_err(|error| fault(INPUTS_JSON, format!("kernel_args: {error}")))?;
    let own = Own {
        root_hash: &parts.root_hash,
        on_failure: contract.on_failure,
        fec: fec.map(str::to_owned),
    };
    let expected = KernelArgs::new(&arguments).and_then(|arguments| arguments.cmdline(&own));
    let expected = expected.map_err(|error| fault(INPUTS_JSON, error.to_string()))?;
    if expected == parts.cmdline {
        return Ok(());
    }
    let reason = format!("not what the inputs record gives, which is {expected:?}");
    let fault = Fault::new(LABEL_ESP, reason).file(esp::UKI_PATH);
    Err(fault.structure(".cmdline").into())
}
