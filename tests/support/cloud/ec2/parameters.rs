//! Parameters of a query: those that nobody asks for are refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::answer::{Outcome, Refusal};
use super::super::http;
use super::super::world::Tags;

pub struct Parameters {
    values: BTreeMap<String, String>,
    taken: RefCell<BTreeSet<String>>,
}

impl Parameters {
    pub fn of(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let values = http::pairs(&text).into_iter().collect();
        let taken = ["Action", "Version", "DryRun"].map(str::to_owned);
        Self {
            values,
            taken: RefCell::new(taken.into_iter().collect()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.taken.borrow_mut().insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }

    pub fn required(&self, name: &str) -> Outcome<&str> {
        let value = self.get(name).filter(|value| !value.is_empty());
        let message = format!("The request must contain the parameter {name}");
        value.ok_or_else(|| Refusal::new(400, "MissingParameter", message))
    }

    pub fn flag(&self, name: &str) -> Outcome<Option<bool>> {
        let value = self.get(name).map(str::parse).transpose();
        value.map_err(|_| self.wrong(name))
    }

    pub fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let value = self.get(name).map(str::parse).transpose();
        value.map_err(|_| self.wrong(name))
    }

    fn wrong(&self, name: &str) -> Refusal {
        let value = &self.values[name];
        let message = format!("Value ({value}) for parameter {name} is invalid.");
        Refusal::new(400, "InvalidParameterValue", message)
    }

    /// `NAME.1`, `NAME.2`, …
    pub fn list(&self, name: &str) -> Vec<&str> {
        let each = (1..).map(|number| self.get(&format!("{name}.{number}")));
        each.map_while(|value| value).collect()
    }

    /// The prefixes `NAME.1.`, `NAME.2.`, … that there are.
    pub fn groups(&self, name: &str) -> Vec<String> {
        let each = (1..).map(|number| format!("{name}.{number}."));
        let is_there = |prefix: &String| self.values.keys().any(|key| key.starts_with(prefix));
        each.take_while(is_there).collect()
    }

    /// Keys and values of `NAME.1.Key`, `NAME.1.Value`, …
    pub fn tags(&self, name: &str) -> Outcome<Tags> {
        let mut tags = Tags::new();
        for prefix in self.groups(name) {
            let key = self.required(&format!("{prefix}Key"))?;
            let value = self.get(&format!("{prefix}Value")).unwrap_or_default();
            let is_new = tags.insert(key.to_owned(), value.to_owned()).is_none();
            if !is_new || key.starts_with("aws:") || key.len() > 127 || value.len() > 255 {
                let message = format!("Tag key {key} is invalid or comes twice.");
                return Err(Refusal::new(400, "InvalidParameterValue", message));
            }
        }
        if tags.len() > 50 {
            let message = "More than 50 tags specified";
            return Err(Refusal::new(400, "TagLimitExceeded", message));
        }
        Ok(tags)
    }

    /// The tags that what is made gets.
    pub fn tag_specification(&self, kinds: &[&str]) -> Outcome<BTreeMap<String, Tags>> {
        let mut out = BTreeMap::new();
        for prefix in self.groups("TagSpecification") {
            let kind = self.required(&format!("{prefix}ResourceType"))?;
            if !kinds.contains(&kind) {
                let message = format!("'{kind}' is not a valid taggable resource type here");
                return Err(Refusal::new(400, "InvalidParameterValue", message));
            }
            let tags = self.tags(&format!("{prefix}Tag"))?;
            out.insert(kind.to_owned(), tags);
        }
        Ok(out)
    }

    /// Refuses what nobody asked for.
    pub fn done(&self) -> Outcome<()> {
        let taken = self.taken.borrow();
        match self.values.keys().find(|name| !taken.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("The parameter {name} is not recognized");
                Err(Refusal::new(400, "UnknownParameter", message))
            }
        }
    }
}
