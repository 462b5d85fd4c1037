//! What a push tells at its end, and what a dry run tells of it.

use std::fmt::Write as _;

use super::summary::bytes;
use crate::push::plan::Planned;
use crate::push::price::dollars;
use crate::push::publish::Pushed;

/// What was pushed, for a person.
pub fn render(all: &[Pushed]) -> String {
    let mut out = String::new();
    for one in all {
        let what = one.ami.as_ref().unwrap_or(&one.snapshot);
        let state = match (one.unchanged, one.copied, one.resumed) {
            (true, ..) => ", unchanged",
            (_, true, _) => ", copied by Amazon",
            (_, _, true) => ", gone on with",
            _ => "",
        };
        let _ = writeln!(out, "{}: {what} ({}){state}", one.region, one.name);
        if one.ami.is_some() {
            let _ = writeln!(out, "  snapshot: {}", one.snapshot);
        }
        if one.unchanged || one.copied {
            continue;
        }
        let (sent, total, size) = (one.blocks_sent, one.blocks_total, bytes(one.bytes));
        let _ = write!(out, "  sent: {sent} of {total} blocks, {size}");
        let _ = match (&one.parent, &one.full_because) {
            (Some(parent), _) => writeln!(out, ", what differs from {parent}"),
            (None, Some(why)) => writeln!(out, "; {why}"),
            (None, None) => writeln!(out),
        };
        if one.verified > 0 {
            let _ = writeln!(
                out,
                "  read back: {} blocks, as they were sent",
                one.verified
            );
        }
        let _ = writeln!(out, "  time: {:.1} s", one.seconds);
    }
    out
}

/// What would be pushed, for a person.
pub fn render_plans(plans: &[Planned]) -> String {
    let mut out = String::new();
    for one in plans {
        let (region, name) = (&one.region, &one.name);
        if let Some(there) = &one.unchanged {
            let _ = writeln!(out, "{region}: {there} ({name}), unchanged: nothing to do");
            continue;
        }
        if one.copied {
            let _ = writeln!(out, "{region}: {name}, copied by Amazon");
            continue;
        }
        let _ = writeln!(out, "{region}: {name}");
        let _ = match (&one.parent, &one.full_because) {
            (Some(parent), _) => writeln!(out, "  parent: {parent}"),
            (None, Some(why)) => writeln!(out, "  parent: none; {why}"),
            (None, None) => writeln!(out, "  parent: none"),
        };
        let (sent, total, size) = (one.blocks_to_send, one.blocks_total, bytes(one.bytes));
        let _ = writeln!(out, "  send: {sent} of {total} blocks, {size}");
        let _ = writeln!(out, "  blocks: {}", runs(&one.blocks));
        let (requests, seconds) = (one.requests, one.seconds);
        let _ = writeln!(
            out,
            "  requests: {requests}, some {seconds:.0} s at 100 ms each"
        );
        let (cost, month) = (dollars(one.cost), dollars(one.cost_a_month));
        let _ = writeln!(out, "  cost: about {cost}, then at most {month} a month");
    }
    out
}

/// The most runs of blocks that a line names; JSON has all.
const MOST_RUNS: usize = 12;

fn runs(runs: &[(u32, u32)]) -> String {
    let named = runs
        .iter()
        .take(MOST_RUNS)
        .map(|(first, count)| match count {
            1 => first.to_string(),
            count => format!("{first}-{}", u64::from(*first) + u64::from(*count) - 1),
        });
    let named: Vec<String> = named.collect();
    match (named.is_empty(), runs.len().saturating_sub(MOST_RUNS)) {
        (true, _) => "none".to_owned(),
        (false, 0) => named.join(" "),
        (false, more) => format!("{} and {more} more runs", named.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_and_a_plan_are_told() {
        let pushed = Pushed {
            region: "eu-central-1".to_owned(),
            snapshot: "snap-2".to_owned(),
            ami: Some("ami-2".to_owned()),
            name: "web-0123456789ab".to_owned(),
            parent: Some("snap-1".to_owned()),
            blocks_sent: 3,
            blocks_total: 100,
            bytes: 3 << 19,
            seconds: 1.26,
            ..Pushed::default()
        };
        assert_eq!(
            render(std::slice::from_ref(&pushed)),
            "eu-central-1: ami-2 (web-0123456789ab)\n  snapshot: snap-2\n  \
             sent: 3 of 100 blocks, 1.50 MiB, what differs from snap-1\n  time: 1.3 s\n"
        );
        let unchanged = Pushed {
            unchanged: true,
            ..pushed
        };
        assert_eq!(
            render(&[unchanged]),
            "eu-central-1: ami-2 (web-0123456789ab), unchanged\n  snapshot: snap-2\n"
        );
        let planned = Planned {
            region: "eu-central-1".to_owned(),
            name: "web-0123456789ab".to_owned(),
            full_because: Some("the parent is gone".to_owned()),
            blocks_to_send: 4,
            blocks: vec![(0, 3), (7, 1)],
            blocks_total: 4,
            bytes: 4 << 19,
            requests: 16,
            seconds: 3.0,
            cost: 24,
            cost_a_month: 50_000,
            ..Planned::default()
        };
        assert_eq!(
            render_plans(&[planned]),
            "eu-central-1: web-0123456789ab\n  parent: none; the parent is gone\n  \
             send: 4 of 4 blocks, 2.00 MiB\n  blocks: 0-2 7\n  \
             requests: 16, some 3 s at 100 ms each\n  \
             cost: about 0.0001 USD, then at most 0.0500 USD a month\n"
        );
    }

    #[test]
    fn a_line_names_few_runs() {
        let many: Vec<(u32, u32)> = (0..20).map(|number| (number * 3, 2)).collect();
        assert!(
            runs(&many).ends_with("33-34 and 8 more runs"),
            "{}",
            runs(&many)
        );
        assert_eq!(runs(&[]), "none");
    }
}
