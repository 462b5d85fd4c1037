//! What there is in a region: each question is asked until there is an answer.

use super::{Ami, CallError, Kind, Region, Retry, Snapshot};

impl Region {
    /// One's own AMIs of these filters, deprecated ones too.
    ///
    /// # Errors
    /// What EC2 answers.
    pub async fn amis(&self, filters: &[(&str, Vec<String>)]) -> Result<Vec<Ami>, CallError> {
        let call = async || self.ec2.describe_images(&[], filters, true, true).await;
        Retry::default().run(call, |_| {}).await
    }

    /// An AMI by its id, one's own or another's; none where there is none (yet).
    ///
    /// # Errors
    /// What EC2 answers.
    pub async fn ami(&self, id: &str) -> Result<Option<Ami>, CallError> {
        let ids = [id.to_owned()];
        let call = async || self.ec2.describe_images(&ids, &[], false, true).await;
        first(Retry::default().run(call, |_| {}).await)
    }

    /// One's own snapshots of these filters.
    ///
    /// # Errors
    /// What EC2 answers.
    pub async fn snapshots(
        &self,
        filters: &[(&str, Vec<String>)],
    ) -> Result<Vec<Snapshot>, CallError> {
        let call = async || self.ec2.describe_snapshots(&[], filters).await;
        Retry::default().run(call, |_| {}).await
    }

    /// A snapshot by its id, whoever has it; none where there is none (yet).
    ///
    /// # Errors
    /// What EC2 answers.
    pub async fn snapshot(&self, id: &str) -> Result<Option<Snapshot>, CallError> {
        let ids = [id.to_owned()];
        let call = async || self.ec2.describe_snapshots(&ids, &[]).await;
        first(Retry::default().run(call, |_| {}).await)
    }
}

fn first<T>(answer: Result<Vec<T>, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
