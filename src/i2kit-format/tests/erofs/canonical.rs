//! Trees in a form in which equal ones are equal.

use std::collections::BTreeMap;

use i2kit_format::erofs::{Content, FileData, InodeId, Metadata, Tree};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub metadata: Metadata,
    /// Type and target or numbers.
    pub kind: String,
    /// Size, and the image's block for each of the file's; holes are left out.
    pub blocks: (u64, BTreeMap<u64, u64>),
    /// The first path of the same inode.
    pub first: Vec<u8>,
}

pub fn canonical(tree: &Tree) -> BTreeMap<Vec<u8>, Node> {
    let mut paths = Vec::new();
    collect(tree, Tree::ROOT, Vec::new(), &mut paths);
    paths.sort();
    let mut first: BTreeMap<InodeId, Vec<u8>> = BTreeMap::new();
    for (path, id) in &paths {
        first.entry(*id).or_insert_with(|| path.clone());
    }
    paths
        .into_iter()
        .map(|(path, id)| (path, node(tree, id, first[&id].clone())))
        .collect()
}

fn collect(tree: &Tree, id: InodeId, path: Vec<u8>, out: &mut Vec<(Vec<u8>, InodeId)>) {
    for (name, child) in tree.directory(id).into_iter().flatten() {
        collect(tree, *child, [&path, &b"/"[..], name].concat(), out);
    }
    out.push((path, id));
}

fn node(tree: &Tree, id: InodeId, first: Vec<u8>) -> Node {
    let inode = tree.get(id).unwrap();
    let (kind, blocks) = match &inode.content {
        Content::Directory(_) => ("directory".to_owned(), (0, BTreeMap::new())),
        Content::Regular(file) => ("regular".to_owned(), (file.size, blocks(file))),
        other => (format!("{other:?}"), (0, BTreeMap::new())),
    };
    Node {
        metadata: inode.metadata.clone(),
        kind,
        blocks,
        first,
    }
}

fn blocks(file: &FileData) -> BTreeMap<u64, u64> {
    let mut blocks = BTreeMap::new();
    for extent in &file.extents {
        for number in 0..extent.len.div_ceil(4096) {
            blocks.insert(extent.offset / 4096 + number, extent.start_block + number);
        }
    }
    blocks
}
