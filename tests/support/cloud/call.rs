//! One call that somebody may make.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Outcome, Refusal};
use super::http::{self, Request};
use super::server::Shared;
use super::settings::Settings;
use super::signature::Signed;
use super::{autoscaling, ebs, ec2, ssm, sts};

/// A call and what it needs.
pub struct Call<'a> {
    pub shared: &'a Shared,
    pub settings: Arc<Settings>,
    pub request: Request,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
    /// As the services' clock has it.
    pub now: SystemTime,
    pub service: String,
    pub region: String,
    /// `ebs:StartSnapshot`.
    pub action: String,
    /// The snapshot that EBS is asked for.
    pub object: String,
    /// The access key's id.
    pub key: String,
    pub request_id: String,
}

impl<'a> Call<'a> {
    pub fn new(shared: &'a Shared, request: Request, request_id: String) -> Self {
        let settings = shared.settings();
        let now = shared.now();
        Self {
            shared,
            settings,
            digest: Sha256::digest(&request.body).into(),
            request,
            now,
            service: String::new(),
            region: String::new(),
            action: String::new(),
            object: String::new(),
            key: String::new(),
            request_id,
        }
    }

    /// Finds out who asks for what, and whether that one may.
    pub fn authorize(&mut self) -> Outcome<()> {
        if self.request.headers.contains_key("transfer-encoding") {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(Refusal::new(411, "MissingContentLength", message));
        }
        let signed = Signed::of(&self.request)?;
        self.service.clone_from(&signed.service);
        self.region.clone_from(&signed.region);
        self.key.clone_from(&signed.key);
        (self.action, self.object) = self.find_action()?;
        let secret = {
            let mut keys = self.shared.keys.lock().unwrap();
            keys.secret(&signed, &self.request, self.now)?
        };
        let may_be_unsigned = self.action == "ebs:PutSnapshotBlock";
        signed.check(
            &self.request,
            &secret,
            &self.digest,
            may_be_unsigned,
            self.now,
        )?;
        self.check_allowed()
    }

    fn find_action(&self) -> Outcome<(String, String)> {
        let request = &self.request;
        let found = match self.service.as_str() {
            "ebs" => ebs::action(&request.method, &request.path)
                .map(|(action, object)| (action.to_owned(), object)),
            "ssm" => request
                .header("x-amz-target")
                .and_then(|target| target.strip_prefix("AmazonSSM."))
                .map(|name| (format!("ssm:{name}"), String::new())),
            service @ ("ec2" | "sts" | "autoscaling") if request.method == "POST" => {
                let form = String::from_utf8_lossy(&request.body);
                let mut pairs = http::pairs(&form).into_iter();
                let action = pairs.find(|(name, _)| name == "Action");
                action.map(|(_, name)| (format!("{service}:{name}"), String::new()))
            }
            _ => None,
        };
        let message = format!("{} {} {}", self.service, request.method, request.path);
        found.ok_or_else(|| Refusal::new(404, "UnknownOperationException", message))
    }

    /// What else must be allowed.
    fn also(&self) -> Option<&'static str> {
        let body = &self.request.body;
        let has = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
        let tags = match self.action.as_str() {
            "ebs:StartSnapshot" => has("\"Tags\":[{"),
            "ec2:RegisterImage" | "ec2:CopyImage" | "ec2:CopySnapshot" => has("TagSpecification.1"),
            _ => false,
        };
        tags.then_some("ec2:CreateTags")
    }

    fn check_allowed(&self) -> Outcome<()> {
        let Some(allowed) = &self.settings.allowed else {
            return Ok(());
        };
        let needed = [Some(self.action.as_str()), self.also()];
        let denied = needed.into_iter().flatten();
        let Some(denied) = denied.rev().find(|action| !allowed.contains(*action)) else {
            return Ok(());
        };
        let message = format!("You are not authorized to perform: {denied}");
        Err(match self.service.as_str() {
            "ec2" => Refusal::new(403, "UnauthorizedOperation", message),
            "ebs" => {
                Refusal::new(403, "AccessDeniedException", message).because("UNAUTHORIZED_ACCOUNT")
            }
            "ssm" => Refusal::new(400, "AccessDeniedException", message),
            _ => Refusal::new(403, "AccessDenied", message),
        })
    }

    /// Does what is asked.
    pub fn answer(&mut self) -> Outcome<Answer> {
        match self.service.as_str() {
            "ebs" => ebs::answer(self),
            "ec2" => ec2::answer(self),
            "ssm" => ssm::answer(self),
            "sts" => sts::answer(self),
            _ => autoscaling::answer(self),
        }
    }
}
