//! Parameters of Systems Manager, by which others find an AMI: JSON 1.1.

use serde_json::{Value, json};

use super::call::Call;
use super::endpoint::ServiceName;
use super::failure::Said;
use super::send::Service;
use super::{CallError, Kind};

pub(super) const SSM: ServiceName = ServiceName {
    id: "SSM",
    host: "ssm",
};

/// A region's parameters.
#[derive(Clone, Debug)]
pub struct Ssm(Service);

impl Ssm {
    pub(super) fn new(service: Service) -> Self {
        Self(service)
    }

    /// Writes a parameter. With the `data_type` `aws:ec2:image` Systems Manager checks that the
    /// value is an AMI that can be launched, after it has answered.
    ///
    /// # Errors
    /// [`CallError`]; `ParameterAlreadyExists` where there is one and `overwrite` is false.
    pub async fn put_parameter(
        &self,
        name: &str,
        value: &str,
        data_type: &str,
        overwrite: bool,
    ) -> Result<(), CallError> {
        let body = json!({
            "Name": name,
            "Value": value,
            "Type": "String",
            "DataType": data_type,
            "Overwrite": overwrite,
        });
        let call = Call::new("write parameter", name);
        self.ask(&call, "PutParameter", &body).await.map(|_| ())
    }

    /// A parameter's value; none where there is no such parameter.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn get_parameter(&self, name: &str) -> Result<Option<String>, CallError> {
        let call = Call::new("read parameter", name);
        let body = json!({ "Name": name });
        let answer = match self.ask(&call, "GetParameter", &body).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            answer => answer?,
        };
        let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
        match value {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err(call.senseless("no value in it")),
        }
    }

    async fn ask(&self, call: &Call, action: &str, body: &Value) -> Result<Value, CallError> {
        let target = format!("AmazonSSM.{action}");
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let text = self.0.post(call, &headers, body.to_string(), said).await?;
        serde_json::from_str(&text).map_err(|error| call.senseless(format!("no JSON: {error}")))
    }
}

/// What an answer says that is no success: `{"__type": "com.amazonaws.ssm#CODE", "message": …}`.
fn said(text: &str) -> Said {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let part = |name: &str| value.get(name).and_then(Value::as_str);
    let code = part("__type").unwrap_or_default();
    let message = part("message").or_else(|| part("Message"));
    Said {
        code: code.rsplit('#').next().unwrap_or_default().to_owned(),
        message: message.unwrap_or_default().to_owned(),
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_type_with_or_without_a_name_space() {
        let said = |text| {
            let said = said(text);
            (said.code, said.message)
        };
        let pair = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(
            said(r#"{"__type":"ParameterNotFound","message":"no"}"#),
            pair("ParameterNotFound", "no")
        );
        assert_eq!(
            said(r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"x"}"#),
            pair("AccessDeniedException", "x")
        );
        assert_eq!(said("<html>"), pair("", ""));
        assert_eq!(said("[]"), pair("", ""));
    }
}
