//! Pod + image configs → the guest contract, with what the kubelet and containerd's CRI would
//! decide decided here: commands, variables, users, limits, signals.

mod accounts;
mod env;
mod error;
mod facts;
mod learned;
mod life;
mod secrets;
mod security;
mod user;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use i2kit_contract::{
    Container, Contract, FailurePolicy, HugePages, Names, Resources, RestartPolicy, VERSION,
};
use oci_spec::image::{Config, ImageConfiguration};

use crate::manifest::{self, Pod, parse_signal};
pub use error::Error;
use facts::Facts;

/// Longest host name (`__NEW_UTS_LEN`).
const MAX_HOSTNAME: usize = 64;
/// SIGTERM.
const DEFAULT_STOP_SIGNAL: u8 = 15;

/// Reads a file of a container's merged root: `(container, absolute path)`, `None` when there is
/// none.
pub type ReadFile<'a> = dyn Fn(&str, &str) -> io::Result<Option<Vec<u8>>> + 'a;

/// The contract of `pod`. `images` has each container's image config by the container's name;
/// `files` reads `/etc/passwd` and `/etc/group` of their roots, only when a name or a user's
/// groups are asked for.
///
/// # Errors
/// [`Error`] for the first container that its image cannot serve.
pub fn contract(
    pod: &Pod,
    images: &BTreeMap<String, ImageConfiguration>,
    files: &ReadFile<'_>,
    on_failure: FailurePolicy,
) -> Result<Contract, Error> {
    let short = hostname(pod);
    let names = names(pod, &short);
    let hostname = match (&names.fqdn, pod.hostname_as_fqdn) {
        (Some(fqdn), true) if fqdn.len() > MAX_HOSTNAME => {
            return Err(Error::LongName { fqdn: fqdn.clone() });
        }
        (Some(fqdn), true) => fqdn.clone(),
        _ => short,
    };
    let planned = |container: &manifest::Container| {
        let image = images.get(&container.name).ok_or_else(|| Error::NoConfig {
            container: container.name.clone(),
            image: container.image.clone(),
        })?;
        let defaults = Config::default();
        let planned = Planned {
            pod,
            container,
            config: image.config().as_ref().unwrap_or(&defaults),
            files,
        };
        planned.contract(&hostname)
    };
    let init_containers = pod.init_containers.iter().map(planned);
    let init_containers = init_containers.collect::<Result<_, _>>()?;
    let containers = pod.containers.iter().map(planned);
    let containers = containers.collect::<Result<_, _>>()?;
    Ok(Contract {
        version: VERSION,
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        hostname,
        names,
        sysctls: pod.pod_security.sysctls.clone(),
        resources: resources(&pod.resources),
        huge_pages: huge_pages(pod),
        process_namespace: pod.process_namespace,
        fs_group: pod.pod_security.fs_group,
        restart_policy: pod.restart_policy,
        termination_grace_period_seconds: pod.termination_grace_period_seconds,
        active_deadline_seconds: pod.active_deadline_seconds,
        on_failure,
        control: false,
        baked_secrets: secrets::baked(pod)?,
        volumes: volumes::volumes(pod),
        init_containers,
        containers,
    })
}

/// `hostnameOverride`; else `hostname`, else the name cut to 63 bytes without a trailing `-` or `.` (the kubelet's
/// `truncatePodHostnameIfNeeded`).
fn hostname(pod: &Pod) -> String {
    if let Some(name) = &pod.hostname_override {
        return name.clone();
    }
    let full = pod.hostname.as_ref().unwrap_or(&pod.name);
    let cut = full.get(..full.len().min(63)).unwrap_or(full);
    match cut.len() == full.len() {
        true => full.clone(),
        false => cut.trim_end_matches(['-', '.']).to_owned(),
    }
}

/// The names of the Pod with its fully qualified one, when it has a subdomain. The cluster's domain
/// is the usual one.
fn names(pod: &Pod, hostname: &str) -> Names {
    // An override is the whole name.
    let subdomain = pod
        .subdomain
        .as_ref()
        .filter(|_| pod.hostname_override.is_none());
    Names {
        fqdn: subdomain
            .map(|subdomain| format!("{hostname}.{subdomain}.{}.svc.cluster.local", pod.namespace)),
        ..pod.names.clone()
    }
}

/// The most that runs together needs (Kubernetes' effective request): containers and sidecars, or
/// one init container beside the sidecars.
fn huge_pages(pod: &Pod) -> Vec<HugePages> {
    let is_sidecar =
        |one: &&manifest::Container| one.life.restart_policy == Some(RestartPolicy::Always);
    let (sidecars, inits): (Vec<_>, Vec<_>) = pod.init_containers.iter().partition(is_sidecar);
    let mut most = total(pod.containers.iter().chain(sidecars.iter().copied()));
    for init in inits {
        for (page, bytes) in total(sidecars.iter().copied().chain([init])) {
            let known = most.entry(page).or_default();
            *known = bytes.max(*known);
        }
    }
    pages(&most)
}

fn total<'a>(containers: impl Iterator<Item = &'a manifest::Container>) -> BTreeMap<u64, u64> {
    let mut total: BTreeMap<u64, u64> = BTreeMap::new();
    for (page, bytes) in containers.flat_map(|one| &one.resources.limits.huge_pages) {
        let sum = total.entry(*page).or_default();
        *sum = sum.saturating_add(*bytes);
    }
    total
}

fn pages(by_size: &BTreeMap<u64, u64>) -> Vec<HugePages> {
    let pages = by_size
        .iter()
        .map(|(&page_bytes, &bytes)| HugePages { page_bytes, bytes });
    pages.collect()
}

/// A container with all that decides how it runs.
struct Planned<'a> {
    pod: &'a Pod,
    container: &'a manifest::Container,
    config: &'a Config,
    files: &'a ReadFile<'a>,
}

impl Planned<'_> {
    fn contract(&self, hostname: &str) -> Result<Container, Error> {
        let vars = self.manifest_env()?;
        let args = self.args(&vars)?;
        let mounts = self.mounts(&vars)?;
        let life = self.life(&vars)?;
        let env = self.env(hostname, vars)?;
        let mut room = self.room();
        args.iter().try_for_each(|arg| room.take(arg.len()))?;
        env.iter().try_for_each(|var| room.take(var.known_len()))?;
        let user = self.user()?;
        self.check_non_root(&user)?;
        Ok(Container {
            name: self.container.name.clone(),
            args,
            env,
            working_dir: self.working_dir()?,
            user,
            security: self.security()?,
            mounts,
            devices: self.container.devices.clone(),
            image_volumes: self.image_volumes()?,
            ports: self.container.ports.clone(),
            resources: resources(&self.container.resources),
            stop_signal: self.stop_signal()?,
            life,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts(self.pod)
    }

    fn name(&self) -> String {
        self.container.name.clone()
    }

    fn image(&self) -> String {
        self.container.image.clone()
    }

    fn working_dir(&self) -> Result<String, Error> {
        if let Some(dir) = &self.container.working_dir {
            return Ok(dir.clone());
        }
        match self.config.working_dir().as_deref() {
            None | Some("") => Ok("/".to_owned()),
            Some(dir) if dir.starts_with('/') && !dir.contains('\0') => Ok(dir.to_owned()),
            Some(dir) => Err(self.bad_path("WorkingDir", dir)),
        }
    }

    fn bad_path(&self, field: &'static str, path: &str) -> Error {
        Error::BadPath {
            container: self.name(),
            image: self.image(),
            field,
            path: path.to_owned(),
        }
    }

    /// Absolute, cleaned, sorted, without those that a mount takes the place of.
    fn image_volumes(&self) -> Result<Vec<String>, Error> {
        let mounts = self.container.mounts.iter();
        let mounted: BTreeSet<_> = mounts.map(|mount| mount.path.as_str()).collect();
        let mut volumes = BTreeSet::new();
        for volume in self.config.volumes().iter().flatten() {
            let parts: Vec<_> = volume
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect();
            if parts.is_empty() || parts.contains(&"..") || volume.contains('\0') {
                return Err(self.bad_path("volume", volume));
            }
            let path = format!("/{}", parts.join("/"));
            if !mounted.contains(path.as_str()) {
                volumes.insert(path);
            }
        }
        Ok(volumes.into_iter().collect())
    }

    /// `lifecycle.stopSignal`, else the image's.
    fn stop_signal(&self) -> Result<u8, Error> {
        if let Some(signal) = self.container.stop_signal {
            return Ok(signal);
        }
        match self.config.stop_signal().as_deref() {
            None | Some("") => Ok(DEFAULT_STOP_SIGNAL),
            Some(signal) => parse_signal(signal).ok_or_else(|| Error::UnknownSignal {
                container: self.name(),
                image: self.image(),
                signal: signal.to_owned(),
            }),
        }
    }
}

/// As the kubelet's `generateLinuxContainerResources`: a limit of 0 is none.
fn resources(resources: &manifest::Resources) -> Resources {
    let positive = |value: u64| (value > 0).then_some(value);
    let millis = |q: manifest::Quantity| positive(q.milli_value());
    let bytes = |q: Option<manifest::Quantity>| q.and_then(|q| positive(q.value()));
    Resources {
        memory_bytes: bytes(resources.limits.memory),
        cpu_millis: resources.limits.cpu.and_then(millis),
        cpu_request_millis: resources.requests.cpu.and_then(millis),
        memory_request_bytes: bytes(resources.requests.memory),
        ephemeral_bytes: bytes(resources.limits.ephemeral_storage),
        huge_pages: pages(&resources.limits.huge_pages),
    }
}
