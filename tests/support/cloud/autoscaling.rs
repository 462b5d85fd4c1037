//! Autoscaling's query protocol (2011-01-01): what uses images.

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::ec2::parameters::Parameters;
use super::world::User;
use super::xml;

const NAMESPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

pub fn answer(call: &mut Call) -> Outcome {
    let parameters = Parameters::of(&call.request.body);
    let action = parameters.required("Action")?.to_owned();
    if parameters.get("Version") != Some("2011-01-01") {
        return Err(Refusal::new(
            400,
            "NoSuchVersion",
            "Version must be 2011-01-01",
        ));
    }
    let (name, items) = match action.as_str() {
        "DescribeAutoScalingGroups" => ("AutoScalingGroups", groups(call)),
        "DescribeLaunchConfigurations" => ("LaunchConfigurations", configurations(call)),
        _ => return Err(Refusal::new(400, "InvalidAction", action)),
    };
    let most = parameters.number("MaxRecords")?.unwrap_or(50);
    if !(1..=100).contains(&most) {
        return Err(Refusal::new(
            400,
            "ValidationError",
            "MaxRecords must be 1 to 100",
        ));
    }
    let token = parameters.get("NextToken").unwrap_or("0.empty");
    parameters.done()?;
    let bad = || Refusal::new(400, "InvalidNextToken", "The token is not valid.");
    let (start, turn) = token.split_once('.').ok_or_else(bad)?;
    let start: usize = start.parse().map_err(|_| bad())?;
    let (part, next) = if call.settings.empty_pages && turn == "empty" {
        (Vec::new(), Some(format!("{start}.full")))
    } else {
        let most = usize::try_from(most).unwrap();
        let part: Vec<_> = items.iter().skip(start).take(most).cloned().collect();
        let end = start + part.len();
        (part, (end < items.len()).then(|| format!("{end}.empty")))
    };
    let result = xml::list(name, "member", part) + &xml::maybe("NextToken", next);
    Ok(Answer::of_query(
        &action,
        NAMESPACE,
        &call.request_id,
        result,
    ))
}

fn all(call: &Call, of: impl Fn(&str, &User) -> Option<String>) -> Vec<String> {
    let world = call.shared.world.lock().unwrap();
    let of_region = world
        .users
        .iter()
        .filter(|((region, _), _)| *region == call.region);
    of_region
        .filter_map(|((_, id), user)| of(id, user))
        .collect()
}

/// Each has its template in a policy of mixed instances, as most have.
fn groups(call: &Call) -> Vec<String> {
    all(call, |id, user| {
        let User::Group(template) = user else {
            return None;
        };
        let specification = [
            xml::text("LaunchTemplateId", template),
            xml::text("Version", "$Latest"),
        ];
        let specification = xml::element("LaunchTemplateSpecification", specification.concat());
        let policy = xml::element("LaunchTemplate", specification);
        Some(xml::text("AutoScalingGroupName", id) + &xml::element("MixedInstancesPolicy", policy))
    })
}

fn configurations(call: &Call) -> Vec<String> {
    all(call, |id, user| match user {
        User::LaunchConfiguration(image) => {
            Some(xml::text("LaunchConfigurationName", id) + &xml::text("ImageId", image))
        }
        _ => None,
    })
}
