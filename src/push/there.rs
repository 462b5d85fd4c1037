//! Whether a region has the very disk already: then there is nothing to push.

use super::cloud::{self, Ami, Region};
use super::known::Known;
use super::publish::{Push, Pushed};
use super::{Error, find, image, prune};

impl Push {
    /// What is in the region already, if the very disk is, as it was wished for.
    ///
    /// # Errors
    /// [`Error::Different`] when it is there in another way; what EC2 answers.
    pub(super) async fn there(
        &self,
        region: &Region,
        known: &Known,
    ) -> Result<Option<Pushed>, Error> {
        if self.wish.snapshot_only {
            return self.snapshot_there(region, known);
        }
        for ami in known.same_amis(&self.identity) {
            match ami.state.as_str() {
                "available" => {}
                "pending" | "transient" => drop(image::available(region, &ami.id).await?),
                "disabled" | "deregistered" => continue,
                // Nothing can be launched of it, and it has the name that the next one needs.
                _ => {
                    prune::remove(region, ami).await?;
                    continue;
                }
            }
            self.is_as_wished(region, ami).await?;
            return Ok(Some(Pushed {
                region: region.name.clone(),
                snapshot: ami.root_snapshot.clone().unwrap_or_default(),
                ami: Some(ami.id.clone()),
                name: ami.name.clone(),
                blocks_total: self.blocks_total()?,
                unchanged: true,
                ..Pushed::default()
            }));
        }
        Ok(None)
    }

    fn snapshot_there(&self, region: &Region, known: &Known) -> Result<Option<Pushed>, Error> {
        let wanted = self.wish.keys.of(&region.name);
        let mut found = known.same_snapshots(&self.identity);
        let same = found.find(|one| {
            one.volume_gib == self.volume_gib() && is_key(wanted, one.kms_key.as_deref())
        });
        let Some(snapshot) = same else {
            return Ok(None);
        };
        Ok(Some(Pushed {
            region: region.name.clone(),
            snapshot: snapshot.id.clone(),
            name: self.identity.name.clone(),
            blocks_total: self.blocks_total()?,
            unchanged: true,
            ..Pushed::default()
        }))
    }

    /// The AMI that is there has the volume and the key that are wished for.
    async fn is_as_wished(&self, region: &Region, ami: &Ami) -> Result<(), Error> {
        let different = |what: String| Error::Different {
            name: ami.name.clone(),
            region: region.name.clone(),
            ami: ami.id.clone(),
            what,
        };
        let wished = self.volume_gib();
        if ami.volume_gib != 0 && ami.volume_gib != wished {
            return Err(different(format!(
                "a volume of {} GiB, not {wished}",
                ami.volume_gib
            )));
        }
        let Some(key) = self.wish.keys.of(&region.name) else {
            return Ok(());
        };
        let id = ami.root_snapshot.as_deref().unwrap_or_default();
        let found = find::snapshot(region, id).await?.kms_key;
        match is_key(Some(key), found.as_deref()) {
            true => Ok(()),
            false => Err(different(format!(
                "{}, not the key {key}",
                found.map_or_else(
                    || "no encryption".to_owned(),
                    |key| format!("the key {key}")
                )
            ))),
        }
    }
}

/// Whether a snapshot's key is the one that is wished for. EC2 tells a key's ARN; an alias is known
/// to nobody here, so that it is taken for the key that is there.
fn is_key(wished: Option<&str>, found: Option<&str>) -> bool {
    match (wished, found) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wished), Some(found)) => wished.contains("alias/") || cloud::is_key(found, wished),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_by_what_is_known_of_them() {
        let arn = "arn:aws:kms:eu-central-1:123456789012:key/1-2";
        assert!(is_key(None, None) && is_key(None, Some(arn)));
        assert!(is_key(Some(arn), Some(arn)) && is_key(Some("1-2"), Some(arn)));
        assert!(is_key(Some("alias/images"), Some(arn)));
        assert!(!is_key(Some("2"), Some(arn)) && !is_key(Some(arn), None));
    }
}
