//! What is called at a container's start and before its end.

use std::time::{Duration, Instant};

use i2kit_contract::Hook;

use crate::{
    fault::Chain,
    net::own,
    pod::{exec::Inside, probe::http},
};

/// A hook's GET without a limit of its own still ends.
const LONGEST_GET: Duration = Duration::from_secs(3600);

/// Calls a hook; `limit` is what is left of the grace period.
///
/// # Errors
/// It has failed or took longer; a line for people.
pub async fn call(hook: &Hook, inside: &Inside, limit: Option<Duration>) -> Result<(), String> {
    match hook {
        Hook::Exec(exec) => {
            let ended = inside.run(&exec.command, limit).await;
            ended
                .map_err(|failure| Chain(&failure).to_string())?
                .must_succeed()
        }
        Hook::HttpGet(get) => {
            let (get, limit) = (get.clone(), limit.unwrap_or(LONGEST_GET));
            let address = get.host.unwrap_or_else(own::address_or_loopback);
            let deadline = Instant::now() + limit;
            let ask = move || http::get(&get, address, deadline);
            let answer = tokio::task::spawn_blocking(ask).await;
            // As for the kubelet, any status is an answer.
            answer.map_err(|error| error.to_string())?.map(drop)
        }
        Hook::Sleep { seconds } => {
            let length = Duration::from_secs(u64::from(*seconds));
            tokio::time::sleep(limit.map_or(length, |limit| length.min(limit))).await;
            Ok(())
        }
    }
}
