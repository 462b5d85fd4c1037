//! When the results of tries make a verdict (the kubelet's `prober/worker.go`). Pure.

/// Results in a row.
#[derive(Clone, Debug)]
pub struct Tally {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    row: u32,
}

impl Tally {
    /// Nothing tried yet. Both thresholds are at least 1.
    pub fn new(success_threshold: u32, failure_threshold: u32) -> Self {
        Self {
            success_threshold,
            failure_threshold,
            last: None,
            row: 0,
        }
    }

    /// Counts a result. The verdict, once there are enough of its kind in a row.
    pub fn record(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.row = self.row.saturating_add(1);
        } else {
            self.last = Some(success);
            self.row = 1;
        }
        let threshold = match success {
            true => self.success_threshold,
            false => self.failure_threshold,
        };
        (self.row >= threshold).then_some(success)
    }

    /// How many results of the last kind there were in a row.
    pub fn row(&self) -> u32 {
        self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` success, `-` failure; answered with the verdicts, `.` for none.
    fn verdicts(success: u32, failure: u32, results: &str) -> String {
        let mut tally = Tally::new(success, failure);
        let results = results.chars().map(|one| tally.record(one == '+'));
        results
            .map(|verdict| match verdict {
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            })
            .collect()
    }

    #[test]
    fn a_verdict_needs_its_threshold_in_a_row() {
        assert_eq!(verdicts(1, 3, "+--+---+"), "+..+..-+");
        assert_eq!(verdicts(2, 1, "+-++-"), ".-.+-");
        assert_eq!(verdicts(1, 1, "-+-"), "-+-");
        assert_eq!(verdicts(3, 2, "++-+++--"), "...".to_owned() + "..+.-");
    }
}
