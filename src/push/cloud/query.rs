//! The query protocol of EC2 and Auto Scaling: a form of flat names, answered in XML.
//!
//! Lists are numbered from 1 and structures dotted: `Filter.1.Value.2=x`.

use super::CallError;
use super::call::Call;
use super::send::Service;
use super::xml::{Answer, said};

/// The parameters of one call.
#[derive(Clone, Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// For `action` of the API of that `version`.
    pub fn new(action: &str, version: &str) -> Self {
        let empty = Self(Vec::new());
        empty.set("Action", action).set("Version", version)
    }

    /// One parameter more.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// One parameter more, if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// `name.1`, `name.2`, ….
    #[must_use]
    pub fn list<T: AsRef<str>>(self, name: &str, values: &[T]) -> Self {
        let numbered = values.iter().zip(1_u32..);
        numbered.fold(self, |form, (value, at)| {
            form.set(format!("{name}.{at}"), value.as_ref())
        })
    }

    /// `Filter.1.Name`, `Filter.1.Value.1`, ….
    #[must_use]
    pub fn filters(self, filters: &[(&str, Vec<String>)]) -> Self {
        let numbered = filters.iter().zip(1_u32..);
        numbered.fold(self, |form, ((name, values), at)| {
            form.set(format!("Filter.{at}.Name"), *name)
                .list(&format!("Filter.{at}.Value"), values)
        })
    }

    /// `name.1.Key`, `name.1.Value`, ….
    #[must_use]
    pub fn tags(self, name: &str, tags: &[(String, String)]) -> Self {
        let numbered = tags.iter().zip(1_u32..);
        numbered.fold(self, |form, ((key, value), at)| {
            form.set(format!("{name}.{at}.Key"), key)
                .set(format!("{name}.{at}.Value"), value)
        })
    }

    /// Tags that what is made has from the start, if there are any: all `resources` the same.
    #[must_use]
    pub fn tagged(self, resources: &[&str], tags: &[(String, String)]) -> Self {
        if tags.is_empty() {
            return self;
        }
        let numbered = resources.iter().zip(1_u32..);
        numbered.fold(self, |form, (resource, at)| {
            form.set(format!("TagSpecification.{at}.ResourceType"), *resource)
                .tags(&format!("TagSpecification.{at}.Tag"), tags)
        })
    }

    /// As `application/x-www-form-urlencoded`.
    pub fn encoded(&self) -> String {
        let pairs = self.0.iter();
        pairs
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect::<Vec<_>>()
            .join("&")
    }
}

/// `text` as a name or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    i2kit_sigv4::encode(text, b"")
}

impl Service {
    /// One attempt of one call.
    pub async fn query(&self, call: &Call, form: &Form) -> Result<Answer, CallError> {
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let headers = [("content-type", kind)];
        let text = self.post(call, &headers, form.encoded(), said).await?;
        Answer::parse(call, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_dotted_and_lists_numbered() {
        let tags = [("Name".to_owned(), "a b".to_owned())];
        let form = Form::new("CopySnapshot", "2016-11-15")
            .maybe("KmsKeyId", None)
            .maybe("Description", Some("ü&=+~"))
            .filters(&[
                ("name", vec!["x".to_owned(), "y*".to_owned()]),
                ("tag:i2kit:name", vec!["z".to_owned()]),
            ])
            .list("Owner", &["self"])
            .tagged(&["snapshot"], &tags)
            .tagged(&["image"], &[]);
        assert_eq!(
            form.encoded(),
            "Action=CopySnapshot&Version=2016-11-15&Description=%C3%BC%26%3D%2B~\
             &Filter.1.Name=name&Filter.1.Value.1=x&Filter.1.Value.2=y%2A\
             &Filter.2.Name=tag%3Ai2kit%3Aname&Filter.2.Value.1=z\
             &Owner.1=self\
             &TagSpecification.1.ResourceType=snapshot\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=a%20b"
        );
    }
}
