//! `i2kit push`: from manifests, or a disk, to AMIs.

mod subject;

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;
use std::thread;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::args::{self, Check};
use super::cloud::{self, connect, region_names};
use super::error::Error;
use super::progress::Transfer;
use super::pushed;
use crate::push::cloud::Cloud;
use crate::push::known::Early;
use crate::push::plan::{Planned, plan};
use crate::push::policy::{Document, Needs};
use crate::push::publish::{Keys, Push, Pushed, Wish, push as publish};
use crate::push::settle::Life;
use crate::push::verify::Verify;
use subject::{Draft, Subject};

/// `i2kit push`.
pub fn push(arguments: &args::Push) -> Result<(), Error> {
    if arguments.print_iam_policy {
        return super::print_json(&Document::of(&needs(arguments)));
    }
    if arguments.abort {
        return abort(arguments);
    }
    check_public(arguments)?;
    let runtime = cloud::runtime()?;
    let done = pushed(arguments, &runtime);
    // A thread that still reads a block is not waited for.
    runtime.shutdown_background();
    match done? {
        Done::Planned(plans) if arguments.json => super::print_json(&plans),
        Done::Planned(plans) => super::print(pushed::render_plans(&plans).as_bytes()),
        Done::Pushed(all) if arguments.json => super::print_json(&all),
        Done::Pushed(all) => super::print(pushed::render(&all).as_bytes()),
    }
}

fn pushed(arguments: &args::Push, runtime: &Runtime) -> Result<Done, Error> {
    let (subject, asked) = ready(arguments, runtime)?;
    let transfer = Arc::new(Transfer::new(progress(arguments), "push"));
    let done = runtime.block_on(run(arguments, &subject, asked, Arc::clone(&transfer)));
    transfer.clear();
    done
}

/// The account, and what its regions have under the image's name.
struct Asked {
    cloud: Cloud,
    wish: Wish,
    early: Early,
}

/// Puts the disk together while the account is asked what it has.
fn ready(arguments: &args::Push, runtime: &Runtime) -> Result<(Subject, Asked), Error> {
    let draft = Draft::of(arguments)?;
    let name = draft.name.clone();
    let (told, finished) = oneshot::channel();
    thread::scope(|scope| {
        let finish = move || drop(told.send(draft.finish(arguments)));
        let started = thread::Builder::new().spawn_scoped(scope, finish);
        started.map_err(Error::Runtime)?;
        let finished = async {
            let interrupted = |_| Err(crate::push::Error::Interrupted.into());
            finished.await.unwrap_or_else(interrupted)
        };
        runtime.block_on(async { tokio::try_join!(finished, ask(arguments, &name)) })
    })
}

async fn ask(arguments: &args::Push, name: &str) -> Result<Asked, Error> {
    let cloud = connect(&arguments.cloud).await?;
    let wish = wish(arguments, region_names(&cloud, &arguments.regions)?)?;
    let early = Early::ask(&cloud, name, &wish).await;
    Ok(Asked { cloud, wish, early })
}

/// What was asked for, and is done.
enum Done {
    Planned(Vec<Planned>),
    Pushed(Vec<Pushed>),
}

async fn run(
    arguments: &args::Push,
    subject: &Subject,
    asked: Asked,
    transfer: Arc<Transfer>,
) -> Result<Done, Error> {
    let push = Push {
        wish: Arc::new(asked.wish),
        cloud: asked.cloud,
        source: Arc::clone(&subject.source),
        own: Arc::clone(&subject.own),
        identity: Arc::new(subject.identity.clone()),
        ledgers: cloud::folder()?,
        progress: transfer,
        early: Arc::new(asked.early),
    };
    if arguments.dry_run {
        return Ok(Done::Planned(plan(&push).await?));
    }
    Ok(Done::Pushed(publish(&push, interrupted()).await?))
}

/// Ends at the first Ctrl-C or SIGTERM; the second ends the process. What then is left is in the
/// ledger.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = kinds else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    super::say("removing what was begun; once more to leave it for i2kit push --abort");
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(EXIT_INTERRUPTED);
    });
}

/// As a shell tells of a program that Ctrl-C has ended.
const EXIT_INTERRUPTED: i32 = 130;

/// What is shown of the work.
fn progress(arguments: &args::Push) -> args::ProgressArgs {
    let mut progress = arguments.disk.pod.progress;
    progress.quiet |= arguments.json;
    progress
}

/// What the flags ask for.
fn wish(arguments: &args::Push, regions: Vec<String>) -> Result<Wish, Error> {
    let image = &arguments.image;
    let mut keys = Keys::default();
    for (region, key) in image.kms_keys.iter().cloned() {
        match region {
            None => keys.default = Some(key),
            Some(region) if regions.contains(&region) => {
                keys.by_region.insert(region, key);
            }
            Some(region) => {
                return Err(Error::Argument {
                    argument: format!("{region}={key}"),
                    reason: "the key's region is none of those that are pushed to",
                });
            }
        }
    }
    Ok(Wish {
        regions,
        parent: image.parent.clone(),
        snapshot_only: image.snapshot_only,
        volume_gib: image.volume_size,
        keys,
        life: Life {
            share: arguments.life.shared(),
            deprecate_after: arguments.life.deprecate_after,
            protect: arguments.life.protect,
            ssm_parameter: arguments.life.ssm_parameter.clone(),
        },
        verify: match arguments.verify {
            Check::None => Verify::None,
            Check::Sample => Verify::Sample,
            Check::Full => Verify::Full,
        },
        copy: arguments.copy,
        tpm: image.tpm,
    })
}

/// What the flags need to be allowed.
fn needs(arguments: &args::Push) -> Needs {
    let (image, life) = (&arguments.image, &arguments.life);
    let keys = image
        .kms_keys
        .iter()
        .map(|(_, key)| match key.starts_with("arn:") {
            true => key.clone(),
            // An id or an alias says neither account nor region.
            false => "*".to_owned(),
        });
    let mut keys: Vec<String> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    Needs {
        push: true,
        ami: !image.snapshot_only,
        copy: arguments.copy,
        share: !life.shared().is_private(),
        deprecate: life.deprecate_after.is_some(),
        protect: life.protect,
        parameter: life.ssm_parameter.clone(),
        keys,
        ..Needs::default()
    }
}

/// Nobody makes an AMI public by accident.
fn check_public(arguments: &args::Push) -> Result<(), Error> {
    let life = &arguments.life;
    if !life.shared().public || life.yes || arguments.dry_run {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NotAsked);
    }
    super::say(
        "Everybody may then launch the AMI and read all that is on its disk. Type yes to go on:",
    );
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(Error::NotAsked),
    }
}

/// `i2kit push --abort`.
fn abort(arguments: &args::Push) -> Result<(), Error> {
    let removed = cloud::abort(&arguments.cloud, progress(arguments).is_silent())?;
    if arguments.json {
        let all = removed
            .iter()
            .map(|one| json!({"kind": one.kind, "region": one.region, "id": one.id}));
        return super::print_json(&all.collect::<serde_json::Value>());
    }
    let lines = removed.iter().filter_map(|one| {
        let id = one.id.as_deref()?;
        Some(format!("removed {id} in {}\n", one.region))
    });
    let mut text: String = lines.collect();
    if text.is_empty() {
        text.push_str("nothing is pending\n");
    }
    super::print(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> args::Push {
        use clap::Parser as _;
        let words = ["i2kit", "push"].iter().chain(words);
        match args::Cli::parse_from(words).command {
            args::Command::Push(push) => *push,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_wish() {
        let arguments = parsed(&[
            "disk.raw",
            "--name",
            "web",
            "--kms-key",
            "alias/all",
            "--kms-key",
            "a=b",
            "--verify",
            "--share",
            "123456789012",
            "--deprecate-after",
            "90d",
            "--copy",
        ]);
        assert_eq!(arguments.image.name.as_deref(), Some("web"));
        let wish = wish(&arguments, vec!["a".to_owned(), "c".to_owned()]).unwrap();
        assert_eq!(
            (wish.keys.of("a"), wish.keys.of("c")),
            (Some("b"), Some("alias/all"))
        );
        assert_eq!((wish.verify, wish.copy), (Verify::Sample, true));
        assert!(wish.life.share.accounts.contains("123456789012"));
        assert_eq!(wish.life.deprecate_after.unwrap().as_secs(), 90 * 24 * 3600);
        assert!(super::wish(&arguments, vec!["c".to_owned()]).is_err());
    }

    #[test]
    fn the_policy_follows_the_flags() {
        let plain = Document::of(&needs(&parsed(&["disk.raw"])));
        assert!(plain.actions().contains(&"ec2:RegisterImage"));
        assert!(!plain.actions().contains(&"ec2:ModifyImageAttribute"));
        let more = [
            "--share",
            "public",
            "--ssm-parameter",
            "/a",
            "--kms-key",
            "alias/x",
        ];
        let more = Document::of(&needs(&parsed(&more)));
        for action in [
            "ec2:ModifyImageAttribute",
            "ssm:PutParameter",
            "kms:CreateGrant",
        ] {
            assert!(more.actions().contains(&action), "{action}");
        }
        let alone = Document::of(&needs(&parsed(&["--snapshot-only"])));
        assert!(!alone.actions().contains(&"ec2:RegisterImage"));
    }

    #[test]
    fn which_pod_and_what_the_image_is_called_are_two_things() {
        let arguments = parsed(&["-f", "a.yaml", "--pod", "web", "--name", "shop"]);
        assert_eq!(arguments.disk.pod.files.name.as_deref(), Some("web"));
        assert_eq!(arguments.image.name.as_deref(), Some("shop"));
    }
}
