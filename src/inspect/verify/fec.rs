//! Error correction, computed again.

use i2kit_contract::{CMDLINE_FEC, LABEL_STORE_FEC};
use i2kit_format::BLOCK;

use super::store::Checked;
use super::{Error, Fault, Parts, check_zeros, read, unlike};
use crate::assemble::fec;
use crate::assemble::store::Store;
use crate::disk::Blob;

/// That the partition holds the parity of store and hash tree, where the command line names one.
/// Answers the word by which it does.
pub(super) fn check(parts: &Parts<'_>, store: &Checked) -> Result<Option<String>, Error> {
    let prefix = format!("{CMDLINE_FEC}=");
    let partition = parts.table.named(LABEL_STORE_FEC);
    let mut words = parts.cmdline.split_whitespace();
    let Some(word) = words.find_map(|word| word.strip_prefix(&prefix)) else {
        return match partition {
            None => Ok(None),
            Some(_) => Err(fault("the command line does not name it").into()),
        };
    };
    let Some(partition) = partition else {
        return Err(fault("the command line names it, but it is not there").into());
    };
    let roots = word.split(':').nth(1).and_then(|roots| roots.parse().ok());
    let roots = roots.ok_or_else(|| fault("the command line does not name its roots"))?;
    let made = fec::build(&as_store(parts, store), roots);
    let made = made.map_err(|error| fault(&error.to_string()))?;
    if made.guid != partition.unique_guid {
        return Err(fault("its GUID is not the one derived from the root hash").into());
    }
    compare(parts, &made.parity)?;
    Ok(Some(made.word()))
}

fn fault(reason: &str) -> Fault {
    Fault::new(LABEL_STORE_FEC, reason)
}

fn as_store(parts: &Parts<'_>, store: &Checked) -> Store {
    Store {
        data: vec![(0, store.data.clone())],
        data_len: store.data.len(),
        hash: vec![(0, store.hash.clone())],
        hash_len: store.hash.len(),
        root_hash: parts.root_hash,
        layers: Vec::new(),
        metadata_len: 0,
        metadata_at: 0,
    }
}

fn compare(parts: &Parts<'_>, parity: &[Blob]) -> Result<(), Error> {
    let (found, start) = (parts.part(LABEL_STORE_FEC)?, parts.start(LABEL_STORE_FEC));
    let mut at = 0;
    for expected in parity {
        let part = found.part(at, expected.len());
        let part = part.ok_or_else(|| Error::Short(LABEL_STORE_FEC.to_owned()))?;
        let unlike = unlike(&part, expected, 0, expected.len());
        if let Some(byte) = unlike.map_err(read(LABEL_STORE_FEC))? {
            let fault = fault("it is not the parity of store and hash tree");
            let offset = at + byte;
            return Err(fault.block(offset / BLOCK).offset(start + offset).into());
        }
        at += expected.len();
    }
    check_zeros(&found, at, LABEL_STORE_FEC, start)
}
