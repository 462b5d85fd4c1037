//! Filters and pages.

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::world::Tags;
use super::super::xml;
use super::parameters::Parameters;

/// A name and the values of which one must match.
pub struct Filter {
    name: String,
    values: Vec<String>,
}

impl Filter {
    /// The query's filters; only these names may be.
    pub fn all(parameters: &Parameters, names: &[&str]) -> Outcome<Vec<Self>> {
        let groups = parameters.groups("Filter").into_iter();
        let filters = groups.map(|prefix| {
            let name = parameters.required(&format!("{prefix}Name"))?.to_owned();
            let values = parameters.list(&format!("{prefix}Value"));
            let values: Vec<_> = values.into_iter().map(str::to_owned).collect();
            let is_known = name.starts_with("tag:") || names.contains(&name.as_str());
            if !is_known || values.is_empty() || values.len() > 200 {
                let message = format!("The filter '{name}' is invalid");
                return Err(Refusal::new(400, "InvalidParameterValue", message));
            }
            Ok(Self { name, values })
        });
        filters.collect()
    }

    /// True when what has these tags and `values` passes.
    pub fn passes(&self, tags: &Tags, values: &dyn Fn(&str) -> Vec<String>) -> bool {
        let found = match self.name.strip_prefix("tag:") {
            Some(key) => tags.get(key).cloned().into_iter().collect(),
            None if self.name == "tag-key" => tags.keys().cloned().collect(),
            None => values(&self.name),
        };
        let matches = |value: &String| {
            let mut wanted = self.values.iter();
            wanted.any(|pattern| is_match(pattern.as_bytes(), value.as_bytes()))
        };
        found.iter().any(matches)
    }
}

/// `*` stands for anything, `?` for one character.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', rest)), _) => {
            is_match(rest, text) || (!text.is_empty() && is_match(pattern, &text[1..]))
        }
        (Some((b'?', rest)), Some((_, more))) => is_match(rest, more),
        (Some((one, rest)), Some((other, more))) => one == other && is_match(rest, more),
        (Some(_), None) => false,
    }
}

/// The page of `items` that is asked for, as a list of that name with the next page's token.
/// `by_id` when each was named.
pub fn page(
    call: &Call,
    parameters: &Parameters,
    name: &str,
    items: &[String],
    by_id: bool,
) -> Outcome<String> {
    let most = parameters.number("MaxResults")?;
    let token = parameters.get("NextToken");
    parameters.done()?;
    if by_id && (most.is_some() || token.is_some()) {
        let message = "The parameter MaxResults cannot be used with ids";
        return Err(Refusal::new(400, "InvalidParameterCombination", message));
    }
    if most.is_some_and(|most| !(5..=1000).contains(&most)) {
        let message = "MaxResults must be 5 to 1000";
        return Err(Refusal::new(400, "InvalidParameterValue", message));
    }
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let most = most.min(call.settings.page_size);
    let bad = || Refusal::new(400, "InvalidNextToken", "The token is not valid.");
    let (start, turn) = token.unwrap_or("0.empty").split_once('.').ok_or_else(bad)?;
    let start: usize = start.parse().map_err(|_| bad())?;
    let all = |items: &[String], next: Option<String>| {
        xml::list(name, "item", items.iter().cloned()) + &xml::maybe("nextToken", next)
    };
    if call.settings.empty_pages && !by_id && turn == "empty" {
        return Ok(all(&[], Some(format!("{start}.full"))));
    }
    let rest = items.get(start..).unwrap_or_default();
    if by_id || rest.len() <= most {
        return Ok(all(rest, None));
    }
    Ok(all(&rest[..most], Some(format!("{}.empty", start + most))))
}
