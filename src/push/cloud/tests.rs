//! What is cured between two attempts: clocks and credentials, of both clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use bytes::Bytes;

use super::canned::{Canned, Reply};
use super::*;

/// Another key each time.
#[derive(Debug, Default)]
struct Numbered(Arc<AtomicU32>);

impl ProvideCredentials for Numbered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let keys = Credentials::new(format!("AKID{number}"), "hunter2", None, None, "test");
        future::ProvideCredentials::ready(Ok(keys))
    }
}

fn in_an_hour() -> Vec<(&'static str, String)> {
    let date = SystemTime::now() + Duration::from_secs(3600);
    vec![("date", httpdate::fmt_http_date(date))]
}

fn xml(code: &str, headers: Vec<(&'static str, String)>) -> Reply {
    let error = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
    let body = format!("<Response><Errors>{error}</Errors></Response>");
    (403, headers, body)
}

fn json(status: u16, code: &'static str, mut headers: Vec<(&'static str, String)>) -> Reply {
    headers.push(("x-amzn-errortype", code.to_owned()));
    headers.push(("content-type", "application/json".to_owned()));
    (
        status,
        headers,
        r#"{"Message":"m","Reason":"R"}"#.to_owned(),
    )
}

fn started() -> Reply {
    let body = r#"{"SnapshotId":"snap-1","Status":"pending","VolumeSize":1,"BlockSize":524288}"#;
    (201, Vec::new(), body.to_owned())
}

fn wish() -> StartSnapshot {
    StartSnapshot {
        volume_gib: 1,
        client_token: "t".to_owned(),
        timeout_minutes: 60,
        ..StartSnapshot::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_put_right_for_ec2() {
    let good = (200, Vec::new(), "<a><return>true</return></a>".to_owned());
    let canned = Canned::new([xml("RequestExpired", in_an_hour()), good]);
    let region = canned.plain();
    let call = async || region.ec2.delete_snapshot("snap-1").await;
    Retry::default().run(call, |_| ()).await.unwrap();
    let [first, second] = &canned.seen()[..] else {
        panic!("two attempts");
    };
    assert_ne!(first.date[..11], second.date[..11], "an hour later");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_put_right_for_ebs() {
    let canned = Canned::new([
        json(403, "InvalidSignatureException", in_an_hour()),
        started(),
    ]);
    let region = canned.plain();
    let call = async || region.ebs.start(&wish()).await;
    let started = Retry::default().run(call, |_| ()).await.unwrap();
    assert_eq!(
        (started.snapshot.as_str(), started.block_size),
        ("snap-1", 524_288)
    );
    let [first, second] = &canned.seen()[..] else {
        panic!("two attempts");
    };
    assert_ne!(first.date[..11], second.date[..11], "an hour later");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_not_tried_again() {
    let canned = Canned::new([json(403, "InvalidSignatureException", Vec::new())]);
    let region = canned.plain();
    let call = async || region.ebs.start(&wish()).await;
    let error = Retry::default().run(call, |_| ()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert_eq!(
        error.to_string(),
        "start snapshot of 1 GiB: InvalidSignatureException: m (R)"
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_that_ran_out_are_replaced() {
    let good = (200, Vec::new(), "<a><return>true</return></a>".to_owned());
    let canned = Canned::new([
        xml("RequestExpired", Vec::new()),
        good,
        json(403, "ExpiredTokenException", Vec::new()),
        started(),
    ]);
    let source = Numbered::default();
    let region = canned.region(SharedCredentialsProvider::new(source));
    let delete = async || region.ec2.delete_snapshot("snap-1").await;
    Retry::default().run(delete, |_| ()).await.unwrap();
    let start = async || region.ebs.start(&wish()).await;
    Retry::default().run(start, |_| ()).await.unwrap();
    let seen = canned.seen();
    let keys: Vec<_> = seen
        .iter()
        .map(|seen| seen.authorization.split(['=', '/']).nth(1).unwrap())
        .collect();
    assert_eq!(keys, ["AKID0", "AKID1", "AKID1", "AKID2"]);
}

#[tokio::test]
async fn a_block_is_sent_once_and_not_hashed_for_the_signature() {
    let canned = Canned::new([
        (201, Vec::new(), "{}".to_owned()),
        json(400, "ThrottlingException", Vec::new()),
    ]);
    let region = canned.plain();
    let data = Bytes::from_static(b"block");
    region
        .ebs
        .put("snap-1", 7, data.clone(), &[1; 32])
        .await
        .unwrap();
    let error = region
        .ebs
        .put("snap-1", 7, data, &[1; 32])
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Throttled);
    let seen = canned.seen();
    assert_eq!(seen.len(), 2, "no second layer of retries");
    let url = "https://ebs.eu-central-1.amazonaws.com/snapshots/snap-1/blocks/7";
    assert_eq!(seen[0].url, url);
    assert!(seen[0].authorization.contains("x-amz-checksum"));
    assert_eq!(seen[0].payload, "UNSIGNED-PAYLOAD");
}

#[tokio::test]
async fn a_page_of_blocks_may_be_empty_and_not_the_last() {
    let page = r#"{"Blocks":[],"NextToken":"n","VolumeSize":3,"BlockSize":524288}"#;
    let last =
        r#"{"Blocks":[{"BlockIndex":5,"BlockToken":"t"}],"VolumeSize":3,"BlockSize":524288}"#;
    let changed = r#"{"ChangedBlocks":[{"BlockIndex":5,"SecondBlockToken":"t"}],"VolumeSize":3,"BlockSize":524288}"#;
    let canned = Canned::good([page, last, changed]);
    let ebs = canned.plain().ebs;
    let first = ebs.list("snap-1", 2, None).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (0, Some("n")));
    let second = ebs.list("snap-1", 2, Some("n")).await.unwrap();
    assert_eq!(second.items[0].index, 5);
    let changed = ebs.list_changed("snap-1", "snap-2", None).await.unwrap();
    assert_eq!(
        (changed.items[0].first.as_deref(), changed.volume_gib),
        (None, 3)
    );
    let urls: Vec<_> = canned.seen().into_iter().map(|seen| seen.url).collect();
    let query = |url: &str| -> BTreeSet<String> {
        url.split('?')
            .nth(1)
            .unwrap()
            .split('&')
            .map(str::to_owned)
            .collect()
    };
    let set = |list: [&str; 2]| list.map(str::to_owned).into();
    assert_eq!(
        query(&urls[0]),
        set(["maxResults=10000", "startingBlockIndex=2"])
    );
    assert_eq!(query(&urls[1]), set(["maxResults=10000", "pageToken=n"]));
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let canned = Canned::new([]);
    let region = canned.plain();
    let cloud = canned.cloud(None);
    for text in [format!("{region:?}"), format!("{cloud:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let error = cloud.region("x").ssm.get_parameter("p").await.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_str()),
        (Kind::Denied, CallError::NO_KEYS)
    );
}

#[tokio::test]
async fn a_parameter_that_is_not_there_is_none() {
    let missing = r#"{"__type":"ParameterNotFound"}"#.to_owned();
    let there = r#"{"Parameter":{"Value":"ami-1"}}"#.to_owned();
    let canned = Canned::new([
        (400, Vec::new(), missing),
        (200, Vec::new(), there),
        (200, Vec::new(), "{}".to_owned()),
    ]);
    let ssm = canned.plain().ssm;
    assert_eq!(ssm.get_parameter("/a").await.unwrap(), None);
    assert_eq!(
        ssm.get_parameter("/a").await.unwrap().as_deref(),
        Some("ami-1")
    );
    ssm.put_parameter("/a", "ami-2", "aws:ec2:image", true)
        .await
        .unwrap();
    assert_eq!(
        canned.seen()[2].body,
        r#"{"DataType":"aws:ec2:image","Name":"/a","Overwrite":true,"Type":"String","Value":"ami-2"}"#
    );
}
