//! Pod and image configs become the contract: image defaults applied, variables expanded, users
//! looked up, so that the guest decides nothing.

mod expand;
mod signal;
mod users;

use std::collections::BTreeMap;
use std::io;

use i2kit_contract::{Container, Contract, FailurePolicy, VERSION, Volume};
use oci_spec::image::{Config, ImageConfiguration};

use crate::manifest::{self, Pod};

/// What containerd sets when neither image nor manifest does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `HOST_NAME_MAX` is 64; the kubelet cuts at a label's 63.
const MAX_HOSTNAME: usize = 63;

/// Reads a file of a container's merged root.
pub type ReadFile<'a> = &'a dyn Fn(&str, &str) -> io::Result<Option<Vec<u8>>>;

/// Why a container cannot run as its manifest and image say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image was not resolved: a fault of the caller.
    #[error("container {0}: its image has no config")]
    NoConfig(String),
    /// Neither manifest nor image says what to run.
    #[error("container {container}: neither the manifest nor the image says what to run")]
    NoCommand {
        /// The container.
        container: String,
    },
    /// The image's user is not in its files.
    #[error("container {container}: {file} of the image has no {what} {name:?}")]
    NoSuchUser {
        /// The container.
        container: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
        /// `user` or `group`.
        what: &'static str,
        /// As the image's config has it.
        name: String,
    },
    /// A user file cannot be read.
    #[error("container {container}: read {file}: {source}")]
    Read {
        /// The container.
        container: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The image's stop signal is none.
    #[error("container {container}: the image's StopSignal {signal:?} is no signal")]
    Signal {
        /// The container.
        container: String,
        /// As the image's config has it.
        signal: String,
    },
    /// A path that must be absolute is not.
    #[error("container {container}: {what} {path:?} of the image is not an absolute path")]
    Relative {
        /// The container.
        container: String,
        /// `WorkingDir` or `Volumes`.
        what: &'static str,
        /// As the image's config has it.
        path: String,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand { .. } => Some("set the container's command".to_owned()),
            Self::NoSuchUser { .. } => Some("set securityContext.runAsUser to a number".to_owned()),
            _ => None,
        }
    }
}

/// The contract of `pod`. `images` has each container's config, `read` its files.
///
/// # Errors
/// [`Error`] naming the container.
pub fn contract(
    pod: &Pod,
    images: &BTreeMap<String, ImageConfiguration>,
    read: ReadFile<'_>,
    on_failure: FailurePolicy,
) -> Result<Contract, Error> {
    let containers = pod.containers.iter().map(|one| {
        let image = images
            .get(&one.name)
            .ok_or_else(|| Error::NoConfig(one.name.clone()))?;
        container(one, &image.config().clone().unwrap_or_default(), read)
    });
    Ok(Contract {
        version: VERSION,
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        hostname: hostname(pod),
        restart_policy: pod.restart_policy,
        termination_grace_period_seconds: pod.termination_grace_period_seconds,
        on_failure,
        volumes: pod
            .volumes
            .iter()
            .map(|name| Volume { name: name.clone() })
            .collect(),
        containers: containers.collect::<Result<_, _>>()?,
    })
}

/// The Pod's name, cut as the kubelet does (`truncatePodHostnameIfNeeded`).
fn hostname(pod: &Pod) -> String {
    let wanted = pod.hostname.as_ref().unwrap_or(&pod.name);
    let cut: String = wanted.chars().take(MAX_HOSTNAME).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn container(
    container: &manifest::Container,
    image: &Config,
    read: ReadFile<'_>,
) -> Result<Container, Error> {
    let name = &container.name;
    let variables = expand::environment(&container.env);
    let args = arguments(container, image, &variables);
    if args.is_empty() {
        return Err(Error::NoCommand {
            container: name.clone(),
        });
    }
    let working_dir = container
        .working_dir
        .as_ref()
        .or(image.working_dir().as_ref());
    let working_dir = working_dir
        .filter(|path| !path.is_empty())
        .map_or("/", String::as_str);
    Ok(Container {
        name: name.clone(),
        args,
        env: environment(image, &variables),
        working_dir: absolute(name, "WorkingDir", working_dir)?,
        user: users::resolve(container, image.user().as_deref(), read)?,
        mounts: container.mounts.clone(),
        image_volumes: image_volumes(container, image)?,
        ports: container.ports.clone(),
        resources: container.resources,
        stop_signal: stop_signal(name, image)?,
    })
}

fn absolute(container: &str, what: &'static str, path: &str) -> Result<String, Error> {
    if path.starts_with('/') && !path.split('/').any(|part| part == "..") {
        return Ok(path.to_owned());
    }
    Err(Error::Relative {
        container: container.to_owned(),
        what,
        path: path.to_owned(),
    })
}

/// Entrypoint and command as Kubernetes combines them: `command` replaces both of the image's,
/// `args` alone replaces its command only.
fn arguments(
    container: &manifest::Container,
    image: &Config,
    variables: &[(String, String)],
) -> Vec<String> {
    let of_image = |part: &Option<Vec<String>>| part.clone().unwrap_or_default();
    let expanded = |words: &[String]| -> Vec<String> {
        words
            .iter()
            .map(|word| expand::expand(word, variables))
            .collect()
    };
    match (container.command.as_slice(), container.args.as_slice()) {
        ([], []) => [of_image(image.entrypoint()), of_image(image.cmd())].concat(),
        ([], args) => [of_image(image.entrypoint()), expanded(args)].concat(),
        (command, args) => [expanded(command), expanded(args)].concat(),
    }
}

/// The image's environment with the manifest's over it, each name once, at its first place.
fn environment(image: &Config, variables: &[(String, String)]) -> Vec<String> {
    let of_image = image
        .env()
        .iter()
        .flatten()
        .filter_map(|one| one.split_once('='));
    let all = of_image.chain(
        variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let mut out: Vec<(&str, &str)> = Vec::new();
    for (name, value) in all {
        match out.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => out.push((name, value)),
        }
    }
    if !out.iter().any(|(name, _)| *name == "PATH") {
        out.insert(0, ("PATH", DEFAULT_PATH));
    }
    out.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The image's volumes that no mount of the Pod covers.
fn image_volumes(container: &manifest::Container, image: &Config) -> Result<Vec<String>, Error> {
    let mut paths: Vec<String> = Vec::new();
    for path in image.volumes().iter().flatten() {
        let path = absolute(&container.name, "Volumes", path.trim_end_matches('/'))?;
        let covered =
            |mount: &i2kit_contract::Mount| mount.mount_path.trim_end_matches('/') == path;
        if !container.mounts.iter().any(covered) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn stop_signal(container: &str, image: &Config) -> Result<u8, Error> {
    match image.stop_signal().as_deref() {
        None | Some("") => Ok(signal::TERM),
        Some(text) => signal::parse(text).ok_or_else(|| Error::Signal {
            container: container.to_owned(),
            signal: text.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(config: &serde_json::Value) -> ImageConfiguration {
        let json = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        serde_json::from_value(json).unwrap()
    }

    fn of(pod: &Pod, config: &serde_json::Value) -> Result<Container, String> {
        let read = |_: &str, path: &str| {
            Ok(match path {
                "/etc/passwd" => Some(b"root:x:0:0::/:\napp:x:1000:1001::/:\n".to_vec()),
                "/etc/group" => {
                    Some(b"app:x:1001:\nextra:x:2000:app,root\nwheel:x:10:root\n".to_vec())
                }
                _ => None,
            })
        };
        let images = BTreeMap::from([(pod.containers[0].name.clone(), image(config))]);
        contract(pod, &images, &read, FailurePolicy::PowerOff)
            .map(|contract| contract.containers[0].clone())
            .map_err(|error| error.to_string())
    }

    fn pod(change: impl FnOnce(&mut manifest::Container)) -> Pod {
        let mut pod = manifest::from_image("x", &[]);
        change(&mut pod.containers[0]);
        pod
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        let config = serde_json::json!({"Entrypoint": ["e"], "Cmd": ["c"]});
        let args = |command: &str, args: &str| {
            let pod = pod(|one| (one.command, one.args) = (words(command), words(args)));
            of(&pod, &config).unwrap().args.join(" ")
        };
        assert_eq!(args("", ""), "e c");
        assert_eq!(args("", "a"), "e a");
        assert_eq!(args("x", ""), "x");
        assert_eq!(args("x", "a b"), "x a b");
        assert!(
            of(&pod(|_| {}), &serde_json::json!({}))
                .unwrap_err()
                .contains("what to run")
        );
    }

    #[test]
    fn the_environment_is_merged_and_expanded() {
        let config = serde_json::json!({"Cmd": ["c"], "Env": ["A=image", "B=image"]});
        let pod = pod(|one| {
            let pairs = [("B", "own"), ("C", "$(B)-$(A)-$$(B)-$(D)"), ("D", "$(C)")];
            one.env = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
            one.args = words("$(C)");
        });
        let made = of(&pod, &config).unwrap();
        let path = format!("PATH={DEFAULT_PATH}");
        let expected = [
            path.as_str(),
            "A=image",
            "B=own",
            "C=own-$(A)-$(B)-$(D)",
            "D=own-$(A)-$(B)-$(D)",
        ];
        assert_eq!(made.env, expected);
        assert_eq!(made.args, ["own-$(A)-$(B)-$(D)"]);
    }

    #[test]
    fn users_are_looked_up() {
        let user = |image: &str, uid: Option<u32>, gid: Option<u32>| {
            let pod = pod(|one| (one.run_as_user, one.run_as_group) = (uid, gid));
            let made = of(&pod, &serde_json::json!({"Cmd": ["c"], "User": image}));
            made.map(|one| (one.user.uid, one.user.gid, one.user.additional_gids))
        };
        assert_eq!(user("", None, None), Ok((0, 0, vec![10, 2000])));
        assert_eq!(user("app", None, None), Ok((1000, 1001, vec![2000])));
        assert_eq!(user("1000", None, None), Ok((1000, 1001, vec![2000])));
        assert_eq!(user("app:extra", None, None), Ok((1000, 2000, vec![])));
        assert_eq!(user("5:7", None, None), Ok((5, 7, vec![])));
        assert_eq!(user("5", None, None), Ok((5, 0, vec![])));
        assert_eq!(user("app", Some(5), None), Ok((5, 0, vec![])));
        assert_eq!(user("5", Some(1000), Some(9)), Ok((1000, 9, vec![2000])));
        assert!(
            user("nobody", None, None)
                .unwrap_err()
                .contains("/etc/passwd")
        );
        assert!(
            user("app:none", None, None)
                .unwrap_err()
                .contains("/etc/group")
        );
    }

    #[test]
    fn volumes_signals_and_folders() {
        let config = serde_json::json!({
            "Cmd": ["c"], "Volumes": {"/data/": {}, "/cache": {}}, "StopSignal": "SIGQUIT",
            "WorkingDir": "/data",
        });
        let made = of(&pod(|_| {}), &config).unwrap();
        assert_eq!((made.stop_signal, made.working_dir.as_str()), (3, "/data"));
        assert_eq!(made.image_volumes, ["/cache", "/data"]);
        let mount = i2kit_contract::Mount {
            volume: "v".to_owned(),
            mount_path: "/cache/".to_owned(),
            read_only: false,
        };
        let made = of(&pod(|one| one.mounts.push(mount)), &config).unwrap();
        assert_eq!(made.image_volumes, ["/data"]);
        let bad = serde_json::json!({"Cmd": ["c"], "StopSignal": "SIGNOPE"});
        assert!(of(&pod(|_| {}), &bad).unwrap_err().contains("SIGNOPE"));
    }
}
