//! The Pod, as a manifest describes it: typed and checked, its images not yet looked at.

use std::collections::BTreeMap;

use i2kit_contract::{Mount, Port, Resources, RestartPolicy};

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.name`: a DNS subdomain.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.hostname`: a DNS label.
    pub hostname: Option<String>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`; Kubernetes' default is 30.
    pub termination_grace_period_seconds: u32,
    /// Names of the `emptyDir` volumes, each once.
    pub volumes: Vec<String>,
    /// At least one, each name once.
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// A DNS label.
    pub name: String,
    /// The image's name, as written.
    pub image: String,
    /// Instead of the image's entrypoint.
    pub command: Vec<String>,
    /// Instead of the image's command.
    pub args: Vec<String>,
    /// Names and values in order, variables not yet expanded.
    pub env: Vec<(String, String)>,
    /// Instead of the image's.
    pub working_dir: Option<String>,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `resources`, with the kubelet's defaults.
    pub resources: Resources,
    /// `securityContext.runAsUser`, the Pod's where the container has none.
    pub run_as_user: Option<u32>,
    /// `securityContext.runAsGroup`, likewise.
    pub run_as_group: Option<u32>,
    /// `volumeMounts`; each names a volume of the Pod.
    pub mounts: Vec<Mount>,
}

/// A Pod of one container that runs `image`, as `docker run` would: once, with `args` instead of
/// the image's own. Pod and container are named after the image's last path component.
#[must_use]
pub fn from_image(image: &str, args: &[String]) -> Pod {
    let name = name_of(image);
    let container = Container {
        name: name.clone(),
        image: image.to_owned(),
        args: args.to_vec(),
        ..Container::default()
    };
    Pod {
        name,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        hostname: None,
        restart_policy: RestartPolicy::Never,
        termination_grace_period_seconds: 30,
        volumes: Vec::new(),
        containers: vec![container],
    }
}

/// A DNS label made of an image reference: `oci:/images/My_App:1.2` gives `my-app`.
fn name_of(image: &str) -> String {
    let image = image
        .split('@')
        .next()
        .unwrap_or_default()
        .trim_end_matches('/');
    let last = image.rsplit('/').next().unwrap_or_default();
    let last = last.strip_prefix("oci:").unwrap_or(last);
    let last = last.split(':').next().unwrap_or_default();
    let label: String = last
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "pod".to_owned()
    } else {
        label.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_images() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("docker.io/library/nginx:1.27", "nginx"),
            ("ghcr.io/x/My_App@sha256:00", "my-app"),
            ("oci:/images/tiny:latest", "tiny"),
            ("oci:tiny", "tiny"),
            ("oci:./tiny/", "tiny"),
            ("::", "pod"),
        ] {
            assert_eq!(from_image(image, &[]).name, name, "{image}");
        }
    }
}
