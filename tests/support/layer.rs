//! Layers to convert, and what became of them.

use std::io::{Cursor, Read};
use std::path::Path;

use i2kit::cache::Cache;
use i2kit::layer::{
    Compression, ConvertOptions, ConvertedLayer, EntryKind, Error, LayerSpec, convert_into_cache,
};
use i2kit_format::erofs::{Cluster, CompressedFile, FileData};
use sha2::{Digest, Sha256};

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The layer `tar` whose compressed bytes are `blob`; its files stay plain.
pub fn spec(blob: &[u8], tar: &[u8]) -> LayerSpec {
    LayerSpec {
        digest: digest(blob),
        size: blob.len() as u64,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        diff_id: digest(tar),
        compression: None,
    }
}

pub fn convert_as(folder: &Path, blob: &[u8], spec: &LayerSpec) -> Result<ConvertedLayer, Error> {
    let cache = Cache::open(folder).unwrap();
    let blob = blob.to_vec();
    let open = || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(Cursor::new(blob))) };
    convert_into_cache(&cache, spec, open, &ConvertOptions::default(), &|_| {})
}

/// Converts an uncompressed layer.
pub fn converted(folder: &Path, tar: &[u8], compression: Option<Compression>) -> ConvertedLayer {
    let spec = LayerSpec {
        compression,
        ..spec(tar, tar)
    };
    convert_as(folder, tar, &spec).unwrap()
}

/// A file's bytes, read from the layer's data.
pub fn contents(layer: &ConvertedLayer, path: &str) -> Vec<u8> {
    let mut entries = layer.entries.iter();
    let entry = entries.rfind(|entry| &*entry.path == path.as_bytes());
    let data = std::fs::read(layer.data.path().unwrap()).unwrap();
    match &entry.unwrap_or_else(|| panic!("{path}")).kind {
        EntryKind::Regular(file) => plain(file, &data),
        EntryKind::Compressed(file) => compressed(layer, file, &data),
        other => panic!("{path} is {other:?}"),
    }
}

fn plain(file: &FileData, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(file.size).unwrap()];
    for extent in &file.extents {
        let (to, len) = (
            usize::try_from(extent.offset).unwrap(),
            usize::try_from(extent.len).unwrap(),
        );
        let from = usize::try_from(extent.start_block).unwrap() * 4096;
        out[to..to + len].copy_from_slice(&data[from..from + len]);
    }
    out
}

fn compressed(layer: &ConvertedLayer, file: &CompressedFile, data: &[u8]) -> Vec<u8> {
    let algorithm = layer.compression.unwrap().algorithm;
    let read = |cluster: &Cluster| {
        let from = usize::try_from(cluster.start_block).unwrap() * 4096;
        let blocks = &data[from..from + cluster.blocks as usize * 4096];
        match cluster.is_plain() {
            true => blocks[..cluster.len as usize].to_vec(),
            false => algorithm.decompress(blocks, cluster.len as usize).unwrap(),
        }
    };
    let mut out: Vec<u8> = file.clusters.iter().flat_map(read).collect();
    if let Some(fragment) = file.fragment {
        let stream: Vec<u8> = layer.packed.iter().flat_map(read).collect();
        let len = usize::try_from(file.size).unwrap() - out.len();
        let from = usize::try_from(fragment).unwrap();
        out.extend(&stream[from..from + len]);
    }
    assert_eq!(out.len() as u64, file.size);
    out
}
