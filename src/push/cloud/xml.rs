//! Answers in XML, as EC2 and Auto Scaling give them.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::CallError;
use super::call::Call;
use super::failure::Said;

/// Elements of one answer, at most: a page of 1,000 AMIs has some 100,000.
const NODES: u32 = 4_000_000;

/// An answer that is XML.
#[derive(Debug)]
pub(super) struct Answer {
    call: Call,
    text: String,
}

impl Answer {
    /// Fails where `text` is no XML: what answers is not the service.
    pub fn parse(call: &Call, text: String) -> Result<Self, CallError> {
        parsed(&text).map_err(|error| call.senseless(format!("no XML: {error}")))?;
        Ok(Self {
            call: call.clone(),
            text,
        })
    }

    /// What `read` makes of the answer's outermost element.
    pub fn read<T>(&self, read: impl FnOnce(Element) -> T) -> Result<T, CallError> {
        let document =
            parsed(&self.text).map_err(|error| self.call.senseless(format!("no XML: {error}")))?;
        Ok(read(Element(document.root_element())))
    }

    /// The text of the outermost element's child `name`, which must be there.
    pub fn needed(&self, name: &str) -> Result<String, CallError> {
        self.read(|root| root.text(name).map(str::to_owned))?
            .ok_or_else(|| self.call.senseless(format!("no {name} in it")))
    }

    /// Fails where the service says `return` with `false`. Some calls say `true`, some nothing,
    /// some what is so now.
    pub fn confirmed(&self) -> Result<(), CallError> {
        match self.read(|root| root.text("return") == Some("false"))? {
            true => Err(self.call.senseless("return is false")),
            false => Ok(()),
        }
    }
}

fn parsed(text: &str) -> Result<Document<'_>, roxmltree::Error> {
    let options = roxmltree::ParsingOptions {
        // No entities of its own: they could grow without bound.
        allow_dtd: false,
        nodes_limit: NODES,
        ..Default::default()
    };
    Document::parse_with_options(text, options)
}

/// An element of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a, 'input>(Node<'a, 'input>);

impl<'a, 'input> Element<'a, 'input> {
    /// Its child `name`. What name space it is in goes by the API's version and does not matter.
    pub fn child(self, name: &str) -> Option<Self> {
        self.0
            .children()
            .find(|node| node.tag_name().name() == name)
            .map(Self)
    }

    /// The children of its child `name`, each an `item` (EC2) or a `member` (Auto Scaling).
    pub fn items(self, name: &str) -> impl Iterator<Item = Self> {
        let list = self.child(name);
        list.into_iter()
            .flat_map(|list| list.0.children())
            .filter(|node| matches!(node.tag_name().name(), "item" | "member"))
            .map(Self)
    }

    /// The text of its child `name`, if it has any.
    pub fn text(self, name: &str) -> Option<&'a str> {
        let text = self.child(name)?.0.text()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The same as an own string, empty if there is none.
    pub fn string(self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// The same, none if there is none.
    pub fn maybe(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// True where the text of its child `name` is `true`.
    pub fn says(self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The number in its child `name`; 0 where there is none.
    pub fn number(self, name: &str) -> u64 {
        let text = self.text(name);
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Its `tagSet`.
    pub fn tags(self) -> BTreeMap<String, String> {
        self.items("tagSet")
            .map(|tag| (tag.string("key"), tag.string("value")))
            .collect()
    }
}

/// What an answer says that is no success. EC2 has `Response/Errors/Error` and `RequestID`, the
/// older services `ErrorResponse/Error` and `RequestId`.
pub(super) fn said(text: &str) -> Said {
    let Ok(document) = parsed(text) else {
        return Said::default();
    };
    let root = Element(document.root_element());
    let error = root.child("Errors").unwrap_or(root).child("Error");
    let part = |name| error.map(|error| error.string(name)).unwrap_or_default();
    Said {
        code: part("Code"),
        message: part("Message"),
        request_id: ["RequestID", "RequestId"]
            .iter()
            .find_map(|name| root.maybe(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str) -> Result<Answer, CallError> {
        Answer::parse(&Call::new("describe", "it"), text.to_owned())
    }

    #[test]
    fn errors_of_ec2_and_of_the_older_services() {
        let ec2 = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <Response><Errors><Error><Code>InvalidSnapshot.NotFound</Code>\
            <Message>The snapshot 'snap-1' does not exist.</Message></Error></Errors>\
            <RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>";
        assert_eq!(
            said(ec2),
            Said {
                code: "InvalidSnapshot.NotFound".to_owned(),
                message: "The snapshot 'snap-1' does not exist.".to_owned(),
                request_id: Some("ea966190-f9aa-478e-9ede-example".to_owned()),
            }
        );
        let older = "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\
            <Error><Type>Sender</Type><Code>ValidationError</Code><Message>no</Message></Error>\
            <RequestId>r</RequestId></ErrorResponse>";
        assert_eq!(said(older).code, "ValidationError");
        assert_eq!(said(older).request_id.as_deref(), Some("r"));
        assert_eq!(said("<html>Bad gateway"), Said::default());
        assert_eq!(said(""), Said::default());
    }

    #[test]
    fn what_is_no_xml_is_no_answer() {
        let error = answer("hello").unwrap_err();
        assert_eq!(error.code, CallError::ANSWER);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"x\">]><a>&b;</a>";
        assert!(answer(bomb).is_err());
    }

    #[test]
    fn return_must_be_true() {
        assert!(
            answer("<a><return>true</return></a>")
                .unwrap()
                .confirmed()
                .is_ok()
        );
        assert!(
            answer("<a><return>false</return></a>")
                .unwrap()
                .confirmed()
                .is_err()
        );
        assert!(answer("<a/>").unwrap().confirmed().is_ok());
        assert!(answer("<a/>").unwrap().needed("imageId").is_err());
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(text in "\\PC*", tags in "(<[a-z/]{0,6}>?|Error|item|&|;|\"){0,40}") {
            for text in [text, tags] {
                let _ = said(&text);
                if let Ok(answer) = answer(&text) {
                    let _ = answer.read(|root| (root.tags(), root.number("a"), root.says("b")));
                    let _ = answer.confirmed();
                }
            }
        }
    }
}
