//! Values of Secrets, kept out of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Secrets by name, their values by key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Those of which only the keys are here.
    omitted: BTreeSet<String>,
}

impl Secrets {
    /// A Secret's values.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.values.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Vec<u8>>)> {
        self.values.iter()
    }

    /// Whether the Secret's values were left out of its document (`i2kit bundle`).
    #[must_use]
    pub fn is_omitted(&self, name: &str) -> bool {
        self.omitted.contains(name)
    }

    pub(super) fn omit(&mut self, name: String) {
        self.omitted.insert(name);
    }

    pub(super) fn insert(&mut self, name: String, values: BTreeMap<String, Vec<u8>>) {
        self.values.insert(name, values);
    }
}

/// Names alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}
