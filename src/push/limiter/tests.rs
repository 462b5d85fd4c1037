//! Tests: the clock is paused, so that time passes only where somebody waits.

use super::*;
use crate::push::cloud::Failed;

fn throttled(kind: Kind) -> CallError {
    let failed = Failed {
        operation: "put block",
        object: "1 of snap-1".to_owned(),
        kind,
        code: "ThrottlingException".to_owned(),
        message: String::new(),
        request_id: None,
        retry_after: None,
    };
    CallError::new(failed)
}

fn limits(start: usize, most: usize, rate: u32) -> Limits {
    Limits { start, most, rate }
}

async fn take(limiter: &Arc<Limiter>, count: usize) -> Vec<Permit> {
    let mut permits = Vec::new();
    for _ in 0..count {
        permits.push(limiter.acquire().await);
    }
    permits
}

async fn is_full(limiter: &Arc<Limiter>) -> bool {
    let wait = Duration::from_millis(1);
    tokio::time::timeout(wait, limiter.acquire()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn it_doubles_each_round_trip_up_to_the_most() {
    let limiter = Limiter::new(limits(4, 10, 1000));
    let mut permits = take(&limiter, 4).await;
    assert!(is_full(&limiter).await);
    for expected in [8, 10, 10] {
        let under_way = permits.len();
        for _ in 0..under_way {
            limiter.succeeded(Duration::from_millis(100));
            // Each answer makes room for one more than itself.
            let room = limiter.limit() - permits.len();
            permits.extend(take(&limiter, room).await);
        }
        assert_eq!(permits.len(), expected);
        assert!(is_full(&limiter).await);
    }
}

#[tokio::test(start_paused = true)]
async fn it_does_not_grow_while_nobody_waits() {
    let limiter = Limiter::new(limits(4, 10, 1000));
    let _permits = take(&limiter, 3).await;
    (0..50).for_each(|_| limiter.succeeded(Duration::from_millis(100)));
    assert_eq!(limiter.limit(), 4);
}

#[tokio::test(start_paused = true)]
async fn it_halves_once_a_round_trip_and_then_grows_slowly() {
    let limiter = Limiter::new(limits(32, 64, 1000));
    let mut permits = take(&limiter, 32).await;
    limiter.failed(&throttled(Kind::Transient));
    assert_eq!(limiter.limit(), 32);
    (0..32).for_each(|_| limiter.failed(&throttled(Kind::Throttled)));
    assert_eq!(limiter.limit(), 16);
    // Those under way stay; no others begin until enough of them are done.
    permits.truncate(17);
    assert!(is_full(&limiter).await);
    permits.truncate(15);
    permits.push(limiter.acquire().await);
    assert!(is_full(&limiter).await);
    for _ in 0..16 {
        limiter.succeeded(Duration::from_millis(100));
        let room = limiter.limit() - permits.len();
        permits.extend(take(&limiter, room).await);
    }
    assert_eq!(limiter.limit(), 19, "about four more");
    for least in [9, 4, 2, 2, 2] {
        tokio::time::advance(Duration::from_secs(1)).await;
        limiter.failed(&throttled(Kind::Throttled));
        assert_eq!(limiter.limit(), least);
    }
    drop(permits);
    let two = take(&limiter, 2).await;
    assert!(is_full(&limiter).await);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn calls_begin_at_the_rate() {
    let limiter = Limiter::new(limits(4, 10, 100));
    let began = Instant::now();
    for _ in 0..100 {
        limiter.begin().await;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(985), "{took:?}");
    assert!(took <= Duration::from_millis(1000), "{took:?}");
    // A pause is no licence to hurry afterwards, but for the slack.
    tokio::time::advance(Duration::from_secs(10)).await;
    let began = Instant::now();
    for _ in 0..100 {
        limiter.begin().await;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(935), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_takes_nothing() {
    let limiter = Limiter::new(limits(2, 2, 1000));
    let permits = take(&limiter, 2).await;
    for _ in 0..10 {
        assert!(is_full(&limiter).await);
    }
    drop(permits);
    drop(take(&limiter, 2).await);
}
