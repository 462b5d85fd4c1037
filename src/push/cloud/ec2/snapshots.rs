//! Snapshots: listed, copied, deleted.

use super::super::CallError;
use super::super::call::Call;
use super::super::xml::Element;
use super::{Ec2, PAGE, Snapshot, form, pages};

impl Ec2 {
    /// The snapshots of these ids, whoever has them; without ids one's own, of those `filters`.
    ///
    /// # Errors
    /// [`Kind::NotFound`](super::super::Kind::NotFound) where one of `ids` is not there (yet).
    pub async fn describe_snapshots(
        &self,
        ids: &[String],
        filters: &[(&str, Vec<String>)],
    ) -> Result<Vec<Snapshot>, CallError> {
        let form = form("DescribeSnapshots")
            .list("SnapshotId", ids)
            .filters(filters);
        // Neither may be said together with ids.
        let form = match ids {
            [] => form.set("Owner.1", "self").set("MaxResults", PAGE),
            _ => form,
        };
        let call = Call::new("describe snapshots", named(ids));
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            all.extend(root.items("snapshotSet").map(snapshot));
            root.maybe("nextToken")
        };
        pages(&self.ec2, &call, &form, read).await
    }

    /// Deletes a snapshot that no AMI uses.
    ///
    /// # Errors
    /// [`CallError`]; `InvalidSnapshot.InUse` where an AMI does.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), CallError> {
        let form = form("DeleteSnapshot").set("SnapshotId", id);
        self.done(&Call::new("delete snapshot", id), &form).await
    }

    /// Copies a snapshot of `from_region` into this region; answers with the copy's id. The key is
    /// one of this region: id, alias or ARN.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn copy_snapshot(
        &self,
        from_region: &str,
        from: &str,
        description: &str,
        tags: &[(String, String)],
        kms_key: Option<&str>,
    ) -> Result<String, CallError> {
        let call = Call::new("copy snapshot", format!("{from} of {from_region}"));
        let form = form("CopySnapshot")
            .set("SourceRegion", from_region)
            .set("SourceSnapshotId", from)
            .set("DestinationRegion", &self.ec2.region)
            .set("Description", description)
            .maybe("Encrypted", kms_key.is_some().then_some("true"))
            .maybe("KmsKeyId", kms_key)
            .tagged(&["snapshot"], tags);
        // The region that has the snapshot must hear from its owner too, in case it is encrypted.
        let keys = self.ec2.wire.identity.keys(&call).await?;
        let url = self
            .elsewhere(from_region)
            .presigned(&keys, &form.encoded())
            .map_err(|reason| call.failed(super::super::Kind::Invalid, "Request", reason))?;
        let form = form.set("PresignedUrl", url);
        self.ec2.query(&call, &form).await?.needed("snapshotId")
    }
}

/// What a list of ids is called in errors.
pub(super) fn named(ids: &[String]) -> String {
    match ids {
        [] => "of the account".to_owned(),
        [id] => id.clone(),
        [id, rest @ ..] => format!("{id} and {} more", rest.len()),
    }
}

fn snapshot(item: Element<'_, '_>) -> Snapshot {
    Snapshot {
        id: item.string("snapshotId"),
        state: item.string("status"),
        state_message: item.maybe("statusMessage"),
        progress: item.string("progress"),
        volume_gib: item.number("volumeSize"),
        encrypted: item.says("encrypted"),
        kms_key: item.maybe("kmsKeyId"),
        owner: item.string("ownerId"),
        start_time: item.string("startTime"),
        tags: item.tags(),
        description: item.string("description"),
    }
}
