//! The blocks' bytes, each content once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// SHA-256.
pub type Digest = [u8; 32];

#[derive(Clone)]
enum Place {
    Memory(Arc<Vec<u8>>),
    /// Offset and length.
    File(u64, usize),
}

pub struct Blocks {
    places: Mutex<HashMap<Digest, Place>>,
    /// Where they lie, and its end.
    file: Option<(File, Mutex<u64>)>,
}

impl Blocks {
    /// In memory, or in a file of that folder, which has no name and goes with the process.
    pub fn new(folder: Option<&Path>) -> Self {
        let file = folder.map(|folder| tempfile::tempfile_in(folder).unwrap());
        Self {
            places: Mutex::default(),
            file: file.map(|file| (file, Mutex::new(0))),
        }
    }

    /// Keeps a block; answers the buffer where it isn't needed.
    pub fn put(&self, digest: Digest, bytes: Vec<u8>) -> Option<Vec<u8>> {
        if self.places.lock().unwrap().contains_key(&digest) {
            return Some(bytes);
        }
        let Some((file, end)) = &self.file else {
            let place = Place::Memory(Arc::new(bytes));
            self.places.lock().unwrap().insert(digest, place);
            return None;
        };
        let offset = {
            let mut end = end.lock().unwrap();
            let offset = *end;
            *end += bytes.len() as u64;
            offset
        };
        file.write_all_at(&bytes, offset).unwrap();
        let place = Place::File(offset, bytes.len());
        self.places.lock().unwrap().insert(digest, place);
        Some(bytes)
    }

    /// The block of that content, which was put.
    pub fn get(&self, digest: &Digest) -> Arc<Vec<u8>> {
        let place = self.places.lock().unwrap()[digest].clone();
        match place {
            Place::Memory(bytes) => bytes,
            Place::File(offset, len) => {
                let mut bytes = vec![0; len];
                let (file, _) = self.file.as_ref().unwrap();
                file.read_exact_at(&mut bytes, offset).unwrap();
                Arc::new(bytes)
            }
        }
    }
}
