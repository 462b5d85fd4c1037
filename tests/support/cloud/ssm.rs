//! SSM's parameters, over its JSON protocol (1.1).

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::keys::ACCOUNT;
use super::time;

pub fn answer(call: &mut Call) -> Outcome {
    let kind = call.request.header("content-type");
    if kind != Some("application/x-amz-json-1.1") {
        let message = "Content-Type must be application/x-amz-json-1.1";
        return Err(Refusal::new(400, "SerializationException", message));
    }
    let bad =
        |error: serde_json::Error| Refusal::new(400, "SerializationException", error.to_string());
    let body: Value = serde_json::from_slice(&call.request.body).map_err(bad)?;
    let answer = match call.action.as_str() {
        "ssm:PutParameter" => put(call, &body)?,
        "ssm:GetParameter" => get(call, &body)?,
        other => return Err(Refusal::new(400, "UnknownOperationException", other)),
    };
    let mut answer = Answer::json(200, &answer);
    answer.headers = vec![("Content-Type", "application/x-amz-json-1.1".to_owned())];
    Ok(answer)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", message)
}

fn name(body: &Value) -> Outcome<String> {
    let name = body["Name"].as_str().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    let reserved = name.trim_start_matches('/').to_ascii_lowercase();
    let is_reserved = reserved.starts_with("aws") || reserved.starts_with("ssm");
    let is_path = name.starts_with('/') || !name.contains('/');
    if name.is_empty() || !name.chars().all(allowed) || is_reserved || !is_path {
        return Err(invalid(format!("Parameter name {name} is invalid")));
    }
    Ok(name.to_owned())
}

fn put(call: &Call, body: &Value) -> Outcome<Value> {
    let name = name(body)?;
    let value = body["Value"].as_str().unwrap_or_default();
    let data_type = body["DataType"].as_str().unwrap_or("text");
    if value.is_empty() || !["String", ""].contains(&body["Type"].as_str().unwrap_or("")) {
        return Err(invalid("A value of the type String is needed"));
    }
    let key = (call.region.clone(), name);
    let mut world = call.shared.world.lock().unwrap();
    if data_type == "aws:ec2:image" {
        let image = world.images.get(value);
        let image = image.filter(|image| image.region == call.region);
        if image.is_none_or(|image| image.state() != "available") {
            return Err(invalid(format!("{value} is no image that is available")));
        }
    } else if data_type != "text" {
        return Err(invalid(format!("Data type {data_type} is unknown")));
    }
    let version = world
        .parameters
        .get(&key)
        .map_or(0, |(_, version)| *version);
    if version > 0 && body["Overwrite"] != true {
        let message =
            "The parameter already exists. To overwrite this value, set the overwrite option.";
        return Err(Refusal::new(400, "ParameterAlreadyExists", message));
    }
    if version == 0 && body["Type"] != "String" {
        return Err(invalid(
            "A parameter type is required when you create a parameter.",
        ));
    }
    let parameter = json!({
        "Name": key.1,
        "Type": "String",
        "Value": value,
        "Version": version + 1,
        "LastModifiedDate": time::seconds(call.now),
        "ARN": format!("arn:aws:ssm:{}:{ACCOUNT}:parameter{}", key.0, key.1),
        "DataType": data_type,
    });
    world.parameters.insert(key, (parameter, version + 1));
    Ok(json!({"Version": version + 1, "Tier": "Standard"}))
}

fn get(call: &Call, body: &Value) -> Outcome<Value> {
    let key = (call.region.clone(), name(body)?);
    let world = call.shared.world.lock().unwrap();
    let found = world.parameters.get(&key);
    let (parameter, _) = found.ok_or_else(|| {
        let message = format!("Parameter {} not found.", key.1);
        Refusal::new(400, "ParameterNotFound", message)
    })?;
    Ok(json!({"Parameter": parameter}))
}
