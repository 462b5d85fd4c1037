//! List, get.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::answer::{Answer, Body, Outcome};
use super::super::call::Call;
use super::super::signature::mac;
use super::super::time;
use super::super::world::Map;
use super::{block_index, completed, invalid, with_checksum, wrong_value};

/// What tokens are made with.
const TOKEN_KEY: &[u8] = b"only the service knows it";

/// A token for `what`, which says when it was made.
fn token(call: &Call, what: &str) -> String {
    let made = call.now.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let text = format!("{made} {what}");
    let check = hex::encode(&mac(TOKEN_KEY, &text)[..8]);
    STANDARD.encode(format!("{check} {text}"))
}

/// What a token is for, unless it is none or too old.
fn opened(call: &Call, token: &str, lifetime: Duration) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (check, text) = text.split_once(' ')?;
    let (made, what) = text.split_once(' ')?;
    let made = UNIX_EPOCH + Duration::from_millis(made.parse().ok()?);
    let is_ours = hex::encode(&mac(TOKEN_KEY, text)[..8]) == check;
    (is_ours && call.now <= made + lifetime).then(|| what.to_owned())
}

pub fn get(call: &mut Call) -> Outcome {
    let id = call.object.clone();
    let index = block_index(call)?;
    let pairs = call.request.pairs();
    let given = pairs.iter().find(|(name, _)| name == "blockToken");
    let bad = || {
        invalid(
            "INVALID_BLOCK_TOKEN",
            "The block token is invalid or expired",
        )
    };
    let (_, given) = given.ok_or_else(bad)?;
    let what = opened(call, given, call.settings.token_lifetime).ok_or_else(bad)?;
    if what != format!("block {id} {index}") {
        return Err(bad());
    }
    let digest = {
        let mut world = call.shared.world.lock().unwrap();
        completed(&mut world, call, &id)?
            .block(index)
            .ok_or_else(bad)?
    };
    let block = call.shared.blocks.get(&digest);
    let mut answer = Answer::new(200)
        .with("Content-Type", "application/octet-stream")
        .with("x-amz-Data-Length", block.len().to_string());
    answer.body = Body::Block(block);
    Ok(with_checksum(answer, STANDARD.encode(digest)))
}

/// A page of what is listed.
struct Page {
    first: Option<String>,
    start: u32,
    most: usize,
    /// It stays empty.
    is_empty: bool,
}

impl Page {
    fn of(call: &Call) -> Outcome<Self> {
        let mut page = Self {
            first: None,
            start: 0,
            most: call.settings.page_size,
            is_empty: call.settings.empty_pages,
        };
        let mut token = None;
        for (name, value) in call.request.pairs() {
            match name.as_str() {
                "firstSnapshotId" => page.first = Some(value),
                "pageToken" => token = Some(value),
                "startingBlockIndex" => {
                    let bad = |_| wrong_value("startingBlockIndex is no index");
                    page.start = value.parse().map_err(bad)?;
                }
                "maxResults" => {
                    let most: usize = value.parse().unwrap_or(0);
                    if !(100..=10_000).contains(&most) {
                        return Err(wrong_value("maxResults must be 100 to 10000"));
                    }
                    page.most = page.most.min(most);
                }
                _ => return Err(wrong_value(format!("unknown parameter {name}"))),
            }
        }
        if let Some(token) = token {
            page.go_on(call, &token)?;
        }
        Ok(page)
    }

    fn go_on(&mut self, call: &Call, token: &str) -> Outcome<()> {
        let bad = || invalid("INVALID_PAGE_TOKEN", "The page token is invalid or expired");
        let what = opened(call, token, call.settings.page_lifetime).ok_or_else(bad)?;
        let words: Vec<_> = what.split(' ').collect();
        let ["page", id, start, turn] = words[..] else {
            return Err(bad());
        };
        if id != call.object {
            return Err(bad());
        }
        self.start = start.parse().unwrap();
        self.is_empty = call.settings.empty_pages && turn == "empty";
        Ok(())
    }

    /// The page's part of `all`, and the token for the next.
    fn cut<T>(&self, call: &Call, all: Vec<(u32, T)>) -> (Vec<(u32, T)>, Option<String>) {
        let next = |start: u32, turn: &str| {
            Some(token(call, &format!("page {} {start} {turn}", call.object)))
        };
        let mut rest = all.into_iter().filter(|(index, _)| *index >= self.start);
        if self.is_empty {
            return (Vec::new(), next(self.start, "full"));
        }
        let part: Vec<_> = rest.by_ref().take(self.most).collect();
        let token = rest.next().and_then(|(index, _)| next(index, "empty"));
        (part, token)
    }
}

/// The members that both lists have.
fn listed(call: &Call, name: &str, items: &[Value], gib: u64, next: Option<String>) -> Answer {
    let expires = call.now + call.settings.token_lifetime;
    let mut answer = json!({
        name: items,
        "ExpiryTime": time::seconds(expires),
        "VolumeSize": gib,
        "BlockSize": call.settings.block_size,
    });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Answer::json(200, &answer)
}

fn block_token(call: &Call, id: &str, index: u32) -> String {
    token(call, &format!("block {id} {index}"))
}

pub fn list(call: &mut Call) -> Outcome {
    let page = Page::of(call)?;
    let id = call.object.clone();
    let (blocks, gib) = {
        let mut world = call.shared.world.lock().unwrap();
        let snapshot = completed(&mut world, call, &id)?;
        (snapshot.blocks(), snapshot.volume_gib)
    };
    let (part, next) = page.cut(call, blocks.into_iter().collect());
    let items = part.iter().map(
        |(index, _)| json!({"BlockIndex": index, "BlockToken": block_token(call, &id, *index)}),
    );
    Ok(listed(
        call,
        "Blocks",
        &items.collect::<Vec<_>>(),
        gib,
        next,
    ))
}

pub fn list_changed(call: &mut Call) -> Outcome {
    let page = Page::of(call)?;
    let second_id = call.object.clone();
    let missing = || wrong_value("firstSnapshotId is missing");
    let first_id = page.first.clone().ok_or_else(missing)?;
    let (first, second, gib) = {
        let mut world = call.shared.world.lock().unwrap();
        let first = completed(&mut world, call, &first_id)?;
        let (blocks, lineage) = (first.blocks(), first.lineage.clone());
        let second = completed(&mut world, call, &second_id)?;
        if second.lineage != lineage {
            let message = "The snapshots are not of one lineage";
            return Err(invalid("UNRELATED_SNAPSHOTS", message));
        }
        (blocks, second.blocks(), second.volume_gib)
    };
    let (part, next) = page.cut(call, changed(&first, &second));
    let items = part.iter().map(|(index, ())| {
        let mut item = json!({"BlockIndex": index});
        for (name, id, blocks) in [
            ("FirstBlockToken", &first_id, &first),
            ("SecondBlockToken", &second_id, &second),
        ] {
            if blocks.contains_key(index) {
                item[name] = json!(block_token(call, id, *index));
            }
        }
        item
    });
    Ok(listed(
        call,
        "ChangedBlocks",
        &items.collect::<Vec<_>>(),
        gib,
        next,
    ))
}

fn changed(first: &Map, second: &Map) -> Vec<(u32, ())> {
    let mut all: Vec<u32> = first.keys().chain(second.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|index| first.get(index) != second.get(index));
    all.into_iter().map(|index| (index, ())).collect()
}
