//! Several regions: uploads side by side, or copies that Amazon makes.
//!
//! Uploads are the default: each region has its own quota of blocks and takes a delta as quickly as
//! the first, where CopyImage moves the whole image and takes many minutes.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cloud::{Ami, Cloud, CopyImage, Region, Retry};
use super::ledger::{Entry, Ledger, Made, TOKEN_TAG};
use super::progress::Progress;
use super::publish::{Push, Pushed};
use super::{Error, image, settle, tags};

/// One ledger for each region.
pub(super) struct Ledgers(Vec<(Region, Arc<Ledger>)>);

impl Ledgers {
    /// Opens them, before anything is asked of anybody.
    ///
    /// # Errors
    /// When one cannot be kept, or another push of the same disk has it.
    pub fn open(push: &Push) -> Result<Self, Error> {
        let opened = push.wish.regions.iter().map(|name| {
            let ledger = Ledger::open(&push.ledgers, &push.subject(name))?;
            let region = push.early.region(name);
            let region = region.unwrap_or_else(|| push.cloud.region(name));
            Ok((region, Arc::new(ledger)))
        });
        Ok(Self(opened.collect::<Result<_, Error>>()?))
    }

    /// All that was made is kept.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn finish(self) -> Result<(), Error> {
        // Nobody else has one any more: all tasks have ended.
        for ledger in self
            .0
            .into_iter()
            .filter_map(|(_, one)| Arc::into_inner(one))
        {
            ledger.finish()?;
        }
        Ok(())
    }

    /// Removes what was made, in all regions at the same time. Answers why what is left is.
    pub async fn undo(self, cloud: &Cloud, progress: &dyn Progress) -> Vec<String> {
        let mut left = Vec::new();
        let mut tasks = JoinSet::new();
        for (region, ledger) in self.0 {
            let cloud = cloud.clone();
            tasks.spawn(async move { (region.name, ledger.undo(&cloud).await) });
        }
        while let Some(undone) = tasks.join_next().await {
            match undone {
                Ok((region, Ok(removed))) => {
                    for id in removed.into_iter().filter_map(|entry| entry.id) {
                        progress.note(&format!("removed {id} in {region} again"));
                    }
                }
                Ok((region, Err(error))) => left.push(format!("in {region}: {error}")),
                Err(error) => left.push(format!("undo the push: {error}")),
            }
        }
        left
    }
}

/// Pushes to all regions, then has their AMIs live on as was asked. Parameters come last: what they
/// name must stay.
///
/// # Errors
/// Of the first region that fails, or [`Error::Interrupted`] once `stopped` says so. All others have
/// stopped by then.
pub(super) async fn all(
    push: &Push,
    ledgers: &Ledgers,
    stopped: watch::Receiver<bool>,
) -> Result<Vec<Pushed>, Error> {
    let (uploads, copies) = ledgers.0.split_at(match push.wish.copy {
        true => 1.min(ledgers.0.len()),
        false => ledgers.0.len(),
    });
    let mut done = side_by_side(push, uploads, None, stopped.clone()).await?;
    if let (Some(home), false) = (done.first().cloned(), copies.is_empty()) {
        done.extend(side_by_side(push, copies, Some(&home), stopped).await?);
    }
    for ((region, _), pushed) in ledgers.0.iter().zip(&done) {
        if let Some(id) = &pushed.ami {
            settle::settle(region, id, &push.wish.life).await?;
        }
    }
    for ((region, _), pushed) in ledgers.0.iter().zip(&done) {
        if let (Some(parameter), Some(ami)) = (&push.wish.life.ssm_parameter, &pushed.ami) {
            settle::publish(region, parameter, ami).await?;
        }
    }
    for ((region, _), pushed) in ledgers.0.iter().zip(&mut done) {
        pushed.requests = region.requests();
    }
    Ok(done)
}

/// One task for each region; answers in the regions' order. With `home`, Amazon copies from there.
async fn side_by_side(
    push: &Push,
    regions: &[(Region, Arc<Ledger>)],
    home: Option<&Pushed>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Vec<Pushed>, Error> {
    let mut tasks = JoinSet::new();
    for (number, (region, ledger)) in regions.iter().enumerate() {
        let (push, region, ledger) = (push.clone(), region.clone(), Arc::clone(ledger));
        let home = home.cloned();
        tasks.spawn(async move { (number, push.one(&region, &ledger, home.as_ref()).await) });
    }
    let mut done: Vec<Option<Pushed>> = vec![None; regions.len()];
    let failed = loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            _ = stopped.wait_for(|is| *is) => break Some(Error::Interrupted),
        };
        match joined {
            None => break None,
            Some(Ok((number, Ok(pushed)))) => {
                if let Some(place) = done.get_mut(number) {
                    *place = Some(pushed);
                }
            }
            Some(Ok((_, Err(error)))) => break Some(error),
            Some(Err(error)) => {
                break Some(Error::Task {
                    region: "one of the regions".to_owned(),
                    reason: error.to_string(),
                });
            }
        }
    };
    // Nothing is made any more once this is answered.
    tasks.shutdown().await;
    match failed {
        Some(error) => Err(error),
        None => Ok(done.into_iter().flatten().collect()),
    }
}

impl Push {
    /// What there is in one region, made or copied from `home` where it is not there yet.
    async fn one(
        &self,
        region: &Region,
        ledger: &Ledger,
        home: Option<&Pushed>,
    ) -> Result<Pushed, Error> {
        let start = Instant::now();
        let pushed = match home {
            None => self.there_or_made(region, ledger).await?,
            Some(home) => match self.there(region, &self.known(region).await?).await? {
                Some(there) => there,
                None => self.copy(region, ledger, home).await?,
            },
        };
        let stay = [Some(&pushed.snapshot), pushed.ami.as_ref()];
        let stay: Vec<&str> = stay.into_iter().flatten().map(String::as_str).collect();
        ledger.undo_others(region, &stay).await?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Pushed { seconds, ..pushed })
    }

    /// The very disk, which mostly is not there yet, or a new one.
    async fn there_or_made(&self, region: &Region, ledger: &Ledger) -> Result<Pushed, Error> {
        let known = self.known(region).await?;
        match self.there(region, &known).await? {
            Some(there) => Ok(there),
            None => self.make(&self.order(region, known).await?, ledger).await,
        }
    }

    /// Has Amazon copy snapshot or AMI from the first region.
    async fn copy(&self, region: &Region, ledger: &Ledger, home: &Pushed) -> Result<Pushed, Error> {
        let mut pushed = Pushed {
            region: region.name.clone(),
            name: home.name.clone(),
            blocks_total: home.blocks_total,
            copied: true,
            ..Pushed::default()
        };
        match &home.ami {
            Some(ami) => {
                let copy = self.copy_ami(region, ledger, home, ami).await?;
                pushed.snapshot = copy.root_snapshot.unwrap_or_default();
                pushed.ami = Some(copy.id);
            }
            None => pushed.snapshot = self.copy_snapshot(region, ledger, home).await?,
        }
        Ok(pushed)
    }

    async fn copy_ami(
        &self,
        region: &Region,
        ledger: &Ledger,
        home: &Pushed,
        ami: &str,
    ) -> Result<Ami, Error> {
        let token = ledger.token(&["copy", ami]);
        let copy = CopyImage {
            name: self.identity.ami_name(),
            description: self.identity.description.clone(),
            from_region: home.region.clone(),
            from: ami.to_owned(),
            tags: self.tags_with(&token),
            kms_key: self.wish.keys.of(&region.name).map(str::to_owned),
            client_token: token.clone(),
        };
        let entry = Entry::new(Made::AmiCopy, &region.name, token).named(&copy.name);
        let number = ledger.intend(entry)?;
        let call = async || region.ec2.copy_image(&copy).await;
        let id = Retry::default().run(call, |_| {}).await?;
        ledger.made(number, &id)?;
        self.progress
            .note(&format!("{id}: copied to {} by Amazon", region.name));
        image::copied(region, &id).await
    }

    async fn copy_snapshot(
        &self,
        region: &Region,
        ledger: &Ledger,
        home: &Pushed,
    ) -> Result<String, Error> {
        let token = ledger.token(&["copy", &home.snapshot]);
        let tags = self.tags_with(&token);
        let number = ledger.intend(Entry::new(Made::SnapshotCopy, &region.name, token))?;
        let key = self.wish.keys.of(&region.name);
        let call = async || {
            let copy = region.ec2.copy_snapshot(
                &home.region,
                &home.snapshot,
                &self.identity.description,
                &tags,
                key,
            );
            copy.await
        };
        let id = Retry::default().run(call, |_| {}).await?;
        ledger.made(number, &id)?;
        image::snapshot_copied(region, &id).await?;
        Ok(id)
    }

    /// The disk's tags and the one by which a copy is found whose answer was lost.
    fn tags_with(&self, token: &str) -> Vec<(String, String)> {
        let mut tags = tags::of(&self.identity, self.source.len());
        tags.push((TOKEN_TAG.to_owned(), token.to_owned()));
        tags
    }
}
