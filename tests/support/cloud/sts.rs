//! STS's query protocol (2011-06-15): another role's keys.

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::ec2::parameters::Parameters;
use super::keys::ACCOUNT;
use super::time;
use super::xml;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

pub fn answer(call: &mut Call) -> Outcome {
    let parameters = Parameters::of(&call.request.body);
    let action = parameters.required("Action")?.to_owned();
    let result = match action.as_str() {
        "AssumeRole" => assume(call, &parameters)?,
        "GetCallerIdentity" => [
            xml::text("Arn", format!("arn:aws:iam::{ACCOUNT}:user/fake")),
            xml::text("UserId", &call.key),
            xml::text("Account", ACCOUNT),
        ]
        .concat(),
        _ => return Err(Refusal::new(400, "InvalidAction", action)),
    };
    Ok(Answer::of_query(
        &action,
        NAMESPACE,
        &call.request_id,
        result,
    ))
}

fn assume(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let role = parameters.required("RoleArn")?;
    let session = parameters.required("RoleSessionName")?;
    parameters.number("DurationSeconds")?;
    parameters.get("ExternalId");
    parameters.done()?;
    let name = role.strip_prefix(&format!("arn:aws:iam::{ACCOUNT}:role/"));
    let denied = || {
        let message = format!("User is not authorized to perform: sts:AssumeRole on {role}");
        Refusal::new(403, "AccessDenied", message)
    };
    let name = name.filter(|name| *name != "denied").ok_or_else(denied)?;
    let made = {
        let mut keys = call.shared.keys.lock().unwrap();
        keys.session(&call.settings, call.now)
    };
    let credentials = [
        xml::text("AccessKeyId", &made.key),
        xml::text("SecretAccessKey", &made.secret),
        xml::text("SessionToken", &made.token),
        xml::text("Expiration", time::iso(made.ends)),
    ];
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}");
    let user = [
        xml::text("AssumedRoleId", format!("AROAI2KITFAKE:{session}")),
        xml::text("Arn", arn),
    ];
    let credentials = xml::element("Credentials", credentials.concat());
    Ok(credentials + &xml::element("AssumedRoleUser", user.concat()))
}
