//! The EBS direct APIs, one attempt of each call.
//!
//! The client is Amazon's, with its own retries off. It does not hash a block again for the
//! signature: the API's model has the payload of PutSnapshotBlock unsigned, since the checksum is a
//! signed header.

mod failure;
mod model;

pub use model::{Block, Changed, Page, StartSnapshot, Started};

use std::fmt::Display;

use aws_credential_types::Credentials;
use aws_sdk_ebs::Client;
use aws_sdk_ebs::operation::start_snapshot::StartSnapshotOutput;
use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm, Tag};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::call::Call;
use super::http::ATTEMPT;
use super::send::{Wire, late, read};
use super::{CallError, Kind};
use failure::Sent;

/// Items of a page, the most that the service allows.
const PAGE: i32 = 10_000;

/// A region's EBS direct APIs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ebs {
    client: Client,
    wire: Wire,
}

impl Ebs {
    pub(super) fn new(client: Client, wire: Wire) -> Self {
        Self { client, wire }
    }

    /// Begins a snapshot, or finds the one begun with the same token.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where the token was used with other parameters.
    pub async fn start(&self, request: &StartSnapshot) -> Result<Started, CallError> {
        let call = Call::new("start snapshot", format!("of {} GiB", request.volume_gib));
        let tags = request
            .tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let operation = self
            .client
            .start_snapshot()
            .volume_size(number(&call, request.volume_gib)?)
            .set_parent_snapshot_id(request.parent.clone())
            .client_token(&request.client_token)
            .description(&request.description)
            .set_tags(Some(tags))
            .set_encrypted(request.encrypted.then_some(true))
            .set_kms_key_arn(request.kms_key.clone())
            .timeout(number(&call, request.timeout_minutes)?);
        let answer = self.attempt(&call, operation.send()).await?;
        started(&call, &answer)
    }

    /// Puts a block, over what was put before. `sha256` is that of `data`, which is a whole block.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for up to two minutes after the snapshot was begun.
    pub async fn put(
        &self,
        snapshot: &str,
        index: u32,
        data: Bytes,
        sha256: &[u8; 32],
    ) -> Result<(), CallError> {
        let call = Call::new("put block", format!("{index} of {snapshot}"));
        let operation = self
            .client
            .put_snapshot_block()
            .snapshot_id(snapshot)
            .block_index(number(&call, index)?)
            .data_length(number(&call, data.len())?)
            .checksum(STANDARD.encode(sha256))
            .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
            .block_data(ByteStream::from(data));
        self.attempt(&call, operation.send()).await.map(drop)
    }

    /// Ends the writing; answers with the snapshot's status, `pending` or `completed`.
    /// `changed_blocks` counts distinct indexes; `checksum` is the SHA-256 of the SHA-256 of all
    /// blocks put, in ascending order of their index.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn complete(
        &self,
        snapshot: &str,
        changed_blocks: u32,
        checksum: &[u8; 32],
    ) -> Result<String, CallError> {
        let call = Call::new("complete snapshot", snapshot);
        let operation = self
            .client
            .complete_snapshot()
            .snapshot_id(snapshot)
            .changed_blocks_count(number(&call, changed_blocks)?)
            .checksum(STANDARD.encode(checksum))
            .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
            .checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear);
        let answer = self.attempt(&call, operation.send()).await?;
        let status = answer.status().map(|status| status.as_str().to_owned());
        status.ok_or_else(|| call.senseless("no status in it"))
    }

    /// A block's bytes: `block_size` of them, of the SHA-256 that EBS says.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where the token has run out, [`CallError::CHECKSUM`] where the bytes are
    /// others.
    pub async fn get(
        &self,
        snapshot: &str,
        block: &Block,
        block_size: u32,
    ) -> Result<Bytes, CallError> {
        let call = Call::new("get block", format!("{} of {snapshot}", block.index));
        let operation = self
            .client
            .get_snapshot_block()
            .snapshot_id(snapshot)
            .block_index(number(&call, block.index)?)
            .block_token(&block.token);
        let keys = self.keys(&call).await?;
        let limit = number(&call, block_size)?;
        // The answer comes with its headers; the time limit is for the bytes too.
        let whole = async {
            let answer = self
                .answer(&call, &keys, Ok(operation.send().await))
                .await?;
            let checksum = answer.checksum().map(str::to_owned);
            let bytes = read(&call, answer.block_data, limit).await?;
            Ok((bytes, checksum))
        };
        let (bytes, checksum) = timeout(ATTEMPT, whole).await.map_err(|_| late(&call))??;
        checked(&call, &bytes, limit, checksum.as_deref())?;
        Ok(bytes)
    }

    /// A page of the blocks that a snapshot has, from `start` on, or the `page` that the last one
    /// named.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn list(
        &self,
        snapshot: &str,
        start: u32,
        page: Option<&str>,
    ) -> Result<Page<Block>, CallError> {
        let call = Call::new("list blocks", format!("of {snapshot}"));
        let operation = self
            .client
            .list_snapshot_blocks()
            .snapshot_id(snapshot)
            .max_results(PAGE);
        let operation = match page {
            Some(page) => operation.next_token(page),
            None => operation.starting_block_index(number(&call, start)?),
        };
        let answer = self.attempt(&call, operation.send()).await?;
        let items = answer.blocks().iter().map(|block| {
            Ok(Block {
                index: said(&call, "index", block.block_index())?,
                token: block.block_token().unwrap_or_default().to_owned(),
            })
        });
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            next: answer.next_token().map(str::to_owned),
            block_size: said(&call, "block size", answer.block_size())?,
            volume_gib: said(&call, "volume size", answer.volume_size())?,
        })
    }

    /// A page of the blocks in which `second` differs from `first`, or that only one of them has.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn list_changed(
        &self,
        first: &str,
        second: &str,
        page: Option<&str>,
    ) -> Result<Page<Changed>, CallError> {
        let call = Call::new("list changed blocks", format!("from {first} to {second}"));
        let operation = self
            .client
            .list_changed_blocks()
            .first_snapshot_id(first)
            .second_snapshot_id(second)
            .max_results(PAGE)
            .set_next_token(page.map(str::to_owned));
        let answer = self.attempt(&call, operation.send()).await?;
        let items = answer.changed_blocks().iter().map(|block| {
            Ok(Changed {
                index: said(&call, "index", block.block_index())?,
                first: block.first_block_token().map(str::to_owned),
                second: block.second_block_token().map(str::to_owned),
            })
        });
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            next: answer.next_token().map(str::to_owned),
            block_size: said(&call, "block size", answer.block_size())?,
            volume_gib: said(&call, "volume size", answer.volume_size())?,
        })
    }

    /// Sends what `send` makes, and waits for the answer as long as an attempt may take.
    async fn attempt<T, E>(
        &self,
        call: &Call,
        send: impl Future<Output = Sent<T, E>>,
    ) -> Result<T, CallError>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let keys = self.keys(call).await?;
        let sent = timeout(ATTEMPT, send).await;
        self.answer(call, &keys, sent).await
    }

    /// The credentials the client will sign with: asked for here, outside the attempt's time limit,
    /// and with an error that says what is wrong with them.
    async fn keys(&self, call: &Call) -> Result<Credentials, CallError> {
        let keys = self.wire.identity.keys(call).await?;
        self.wire.sent.add();
        Ok(keys)
    }

    /// Requests sent to its region so far, those of EC2 and Systems Manager too.
    pub(super) fn requests(&self) -> u64 {
        self.wire.sent.count()
    }
}

fn started(call: &Call, answer: &StartSnapshotOutput) -> Result<Started, CallError> {
    let snapshot = answer.snapshot_id();
    Ok(Started {
        snapshot: snapshot
            .ok_or_else(|| call.senseless("no snapshot id in it"))?
            .to_owned(),
        block_size: said(call, "block size", answer.block_size())?,
        volume_gib: said(call, "volume size", answer.volume_size())?,
        status: answer
            .status()
            .map(|status| status.as_str().to_owned())
            .unwrap_or_default(),
        owner: answer.owner_id().map(str::to_owned),
        parent: answer.parent_snapshot_id().map(str::to_owned),
        kms_key: answer.kms_key_arn().map(str::to_owned),
    })
}

/// A number as the service's type has it.
fn number<N: Copy + Display, T: TryFrom<N>>(call: &Call, value: N) -> Result<T, CallError> {
    T::try_from(value).map_err(|_| {
        let message = format!("{value} is more than the service counts");
        call.failed(Kind::Invalid, "Request", message)
    })
}

/// A number that the service says.
fn said<N: Copy + Display, T: TryFrom<N>>(
    call: &Call,
    what: &str,
    value: Option<N>,
) -> Result<T, CallError> {
    let value = value.ok_or_else(|| call.senseless(format!("no {what} in it")))?;
    T::try_from(value).map_err(|_| call.senseless(format!("{what} is {value}")))
}

/// Whether a block's bytes are what EBS says they are.
fn checked(
    call: &Call,
    bytes: &[u8],
    block_size: usize,
    checksum: Option<&str>,
) -> Result<(), CallError> {
    if bytes.len() != block_size {
        let message = format!("{} bytes where {block_size} should be", bytes.len());
        return Err(call.failed(Kind::Transient, CallError::CHECKSUM, message));
    }
    let found = STANDARD.encode(Sha256::digest(bytes));
    match checksum {
        Some(said) if said == found => Ok(()),
        Some(said) => {
            let message = format!("SHA-256 is {found} where {said} should be");
            Err(call.failed(Kind::Transient, CallError::CHECKSUM, message))
        }
        None => Err(call.failed(Kind::Other, CallError::CHECKSUM, "none in the answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_another_length_or_digest_is_not_taken() {
        let call = Call::new("get block", "1 of snap-1");
        let good = STANDARD.encode(Sha256::digest(b"abcd"));
        assert!(checked(&call, b"abcd", 4, Some(&good)).is_ok());
        for (bytes, said, kind) in [
            (&b"abc"[..], Some(good.as_str()), Kind::Transient),
            (b"abce", Some(good.as_str()), Kind::Transient),
            (b"abcd", None, Kind::Other),
        ] {
            let error = checked(&call, bytes, 4, said).unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.kind),
                (CallError::CHECKSUM, kind)
            );
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors() {
        let call = Call::new("list", "it");
        assert_eq!(number::<u32, i32>(&call, 7).unwrap(), 7);
        assert_eq!(
            number::<u32, i32>(&call, u32::MAX).unwrap_err().kind,
            Kind::Invalid
        );
        assert_eq!(said::<i32, u32>(&call, "index", Some(7)).unwrap(), 7);
        assert!(said::<i32, u32>(&call, "index", Some(-1)).is_err());
        assert!(said::<i32, u32>(&call, "index", None).is_err());
    }
}
