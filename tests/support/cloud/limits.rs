//! Quotas: buckets that fill with time.

use std::collections::HashMap;
use std::time::Instant;

use super::answer::{Outcome, Refusal};
use super::settings::Rates;

struct Bucket {
    tokens: f64,
    filled: Instant,
}

#[derive(Default)]
pub struct Limits {
    buckets: HashMap<String, Bucket>,
    refused: u64,
}

impl Limits {
    /// Takes a request's token, or refuses it.
    pub fn take(&mut self, action: &str, region: &str, object: &str, rates: &Rates) -> Outcome<()> {
        let rate = rate(action, rates);
        let family = match action {
            "ebs:ListChangedBlocks" => "ebs:ListSnapshotBlocks",
            other => other,
        };
        let mut names = vec![format!("{region} {family}")];
        if action == "ebs:PutSnapshotBlock" {
            names.push(format!("{region} {family} {object}"));
        }
        for (level, name) in names.iter().enumerate() {
            if !self.has_token(name, f64::from(rate)) {
                self.refused += 1;
                return Err(throttled(action, level, self.refused));
            }
        }
        Ok(())
    }

    fn has_token(&mut self, name: &str, rate: f64) -> bool {
        let now = Instant::now();
        // A tenth of a second's worth at once: what is measured over a second keeps the quota.
        let most = (rate / 10.0).max(5.0);
        let bucket = self.buckets.entry(name.to_owned()).or_insert(Bucket {
            tokens: most,
            filled: now,
        });
        let grown = bucket.tokens + rate * now.duration_since(bucket.filled).as_secs_f64();
        (bucket.tokens, bucket.filled) = (grown.min(most), now);
        let has = bucket.tokens >= 1.0;
        if has {
            bucket.tokens -= 1.0;
        }
        has
    }
}

fn rate(action: &str, rates: &Rates) -> u32 {
    match action {
        "ebs:PutSnapshotBlock" => rates.put,
        "ebs:GetSnapshotBlock" => rates.get,
        "ebs:ListSnapshotBlocks" | "ebs:ListChangedBlocks" => rates.list,
        "ebs:StartSnapshot" => rates.start,
        "ebs:CompleteSnapshot" => rates.complete,
        _ => rates.other,
    }
}

/// EBS has two errors for it, and both are seen.
pub fn throttled(action: &str, level: usize, turn: u64) -> Refusal {
    let rate = "Rate exceeded";
    match action.split(':').next() {
        Some("ebs") if turn.is_multiple_of(2) => Refusal::new(400, "ThrottlingException", rate),
        Some("ebs") => {
            let reason = ["ACCOUNT_THROTTLED", "RESOURCE_LEVEL_THROTTLE"][level.min(1)];
            Refusal::new(400, "RequestThrottledException", rate).because(reason)
        }
        Some("ec2") => Refusal::new(503, "RequestLimitExceeded", "Request limit exceeded."),
        Some("ssm") => Refusal::new(400, "ThrottlingException", rate),
        _ => Refusal::new(400, "Throttling", rate),
    }
}
