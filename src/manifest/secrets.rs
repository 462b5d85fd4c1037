//! Values of Secrets, kept out of messages.

use std::collections::BTreeMap;
use std::fmt;

/// Secrets by name, their values by key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, BTreeMap<String, Vec<u8>>>);

impl Secrets {
    /// A Secret's values.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Vec<u8>>)> {
        self.0.iter()
    }

    pub(super) fn insert(&mut self, name: String, values: BTreeMap<String, Vec<u8>>) {
        self.0.insert(name, values);
    }
}

/// Names alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
