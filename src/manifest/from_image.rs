//! A Pod without a manifest: one container of one image.

use i2kit_contract::RestartPolicy;

use super::error::Error;
use super::pod::{Container, Pod};

/// The Pod of `i2kit run IMAGE [-- ARGS]`. It and its container are named after the last part of
/// the reference's path; `args` replace the image's Cmd. It runs once (`restartPolicy: Never`), as
/// `docker run` does, so that the exit code is the program's.
///
/// # Errors
/// When the reference is empty, or it or an argument cannot be passed to a process.
pub fn from_image(reference: &str, args: &[String]) -> Result<Pod, Error> {
    let bad = |message: String| Err(Error::new(message, None));
    if reference.is_empty() || reference.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return bad(format!("image {reference:?}: not an image reference"));
    }
    if let Some(arg) = args.iter().find(|arg| arg.contains('\0')) {
        return bad(format!(
            "argument {arg:?}: must not contain a NUL character"
        ));
    }
    let name = name_of(reference);
    let container = Container {
        name: name.clone(),
        image: reference.to_owned(),
        // `$(NAME)` is the manifest's syntax; on a command line it is meant as written.
        args: args.iter().map(|arg| arg.replace('$', "$$")).collect(),
        ..Container::default()
    };
    Ok(Pod {
        name,
        namespace: "default".to_owned(),
        service_account: "default".to_owned(),
        restart_policy: RestartPolicy::Never,
        termination_grace_period_seconds: 30,
        containers: vec![container],
        ..Pod::default()
    })
}

/// Prefixes that say where an image is, not what it is called (containers-transports(5)).
const TRANSPORTS: [&str; 5] = [
    "docker",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
];

/// A DNS label from the last part of a reference's path.
fn name_of(reference: &str) -> String {
    let undigested = reference
        .split('@')
        .next()
        .unwrap_or_default()
        .trim_end_matches('/');
    let last = undigested.rsplit('/').next().unwrap_or_default();
    let untagged = last
        .split(':')
        .find(|part| !part.is_empty() && !TRANSPORTS.contains(part));
    let lower = untagged.unwrap_or_default().to_ascii_lowercase();
    let dashed: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match dashed.trim_matches('-') {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}
