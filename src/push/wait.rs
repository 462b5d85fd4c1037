//! Waiting for a state that several answers at once agree on: each may come from another server, and
//! one that lags says what was so before.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The first pause between two questions.
const SOON: Duration = Duration::from_millis(250);
/// The longest pause between two questions.
const LONGEST: Duration = Duration::from_secs(5);

/// What one question gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is so.
    There(T),
    /// Not yet: what is the case instead.
    NotYet(String),
}

/// The time was up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIsUp {
    /// What was the case last.
    pub last: String,
    /// How long was waited, seconds.
    pub seconds: u64,
}

/// Asks three times at once until all three answers say that it is so; answers the first's value.
///
/// # Errors
/// What `ask` fails with, at once; or [`TimeIsUp`] after `patience`.
pub async fn agreed<T, E: From<TimeIsUp>, F: Future<Output = Result<Answer<T>, E>>>(
    patience: Duration,
    ask: impl Fn() -> F,
) -> Result<T, E> {
    let end = Instant::now() + patience;
    let mut pause = SOON;
    loop {
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        let last = match (first?, second?, third?) {
            (Answer::There(value), Answer::There(_), Answer::There(_)) => return Ok(value),
            (Answer::NotYet(what), Answer::NotYet(_), Answer::NotYet(_)) => what,
            _ => "not every server agrees".to_owned(),
        };
        if Instant::now() + pause >= end {
            let seconds = patience.as_secs();
            return Err(TimeIsUp { last, seconds }.into());
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn asked(answers: &[bool], patience: Duration) -> (Result<usize, TimeIsUp>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let count = RefCell::new(0);
        let ask = async || {
            let mut at = count.borrow_mut();
            *at += 1;
            Ok(match answers.get(*at - 1).copied().unwrap_or_default() {
                true => Answer::There(*at),
                false => Answer::NotYet("pending".to_owned()),
            })
        };
        let answer = runtime.block_on(agreed(patience, ask));
        (answer, count.into_inner())
    }

    #[test]
    fn a_server_that_lags_is_waited_for() {
        let minute = Duration::from_secs(60);
        assert_eq!(asked(&[true, true, true], minute), (Ok(1), 3));
        let lagging = [false, true, true, true, false, true, true, true, true];
        assert_eq!(asked(&lagging, minute), (Ok(7), 9));
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let (answer, asked) = asked(&[], Duration::from_secs(1));
        assert_eq!(answer.unwrap_err().last, "pending");
        assert!((6..=12).contains(&asked), "{asked}");
    }

    #[test]
    fn a_server_that_always_lags_is_given_up() {
        let one_lags = [true, true, false].repeat(20);
        let (answer, _) = asked(&one_lags, Duration::from_secs(1));
        assert_eq!(answer.unwrap_err().last, "not every server agrees");
    }
}
