//! What an image's name stands for on this machine, and where its registry is to be had.
//!
//! A name without a registry is Docker Hub's, as in Kubernetes: `nginx` is
//! `docker.io/library/nginx` whatever `unqualified-search-registries` says, since a manifest must
//! not mean another image on another machine. Only an alias changes it, which somebody wrote down
//! for that very name (`[aliases]`, Podman's `short-name-aliases.conf`), as with CRI-O.
//!
//! Registries are spoken to through TLS. The machine itself is not, as with Docker and containerd:
//! `localhost`, 127.0.0.0/8 and ::1 are plain HTTP, unless their port is 443 or none or the user
//! has certificates for them. `insecure` means TLS with any certificate, and then HTTP.

use super::hosts_toml::{Host, Hosts};
use super::registries_conf::{Mirror, RegistriesConf, Registry, UsedFor};
use super::settings::SettingsError;
use super::{Endpoint, Scheme, Settings, Tls, certificates};
use crate::oci::{Error, Reference};

/// Docker Hub's name, and where it is.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The user's settings for registries.
#[derive(Clone, Debug)]
pub struct Registries {
    settings: Settings,
    /// Empty where containerd's files are used.
    conf: RegistriesConf,
}

impl Registries {
    /// Reads `registries.conf`; containerd's files are read when a registry is asked for.
    ///
    /// # Errors
    /// A file that cannot be read or makes no sense.
    pub fn load(settings: Settings) -> Result<Self, SettingsError> {
        let conf = match &settings.registry_hosts {
            // Each registry may go without a folder of its own, but not all of them for a slip.
            Some(folder) => {
                let read = std::fs::read_dir(folder);
                read.map_err(|source| SettingsError::Read {
                    path: folder.clone(),
                    source,
                })?;
                RegistriesConf::default()
            }
            None => RegistriesConf::load(&settings.environment)?,
        };
        Ok(Self::new(settings, conf))
    }

    /// With `conf` for the files of that name.
    #[must_use]
    pub fn new(settings: Settings, conf: RegistriesConf) -> Self {
        Self { settings, conf }
    }

    /// The image that a manifest means by `text`.
    ///
    /// # Errors
    /// [`Error::Reference`] for what is no reference.
    pub fn reference(&self, text: &str) -> Result<Reference, Error> {
        let reference: Reference = text.parse()?;
        let alias = Reference::short_name(text).and_then(|name| self.conf.alias(name));
        match alias {
            Some(name) => reference.renamed(name),
            None => Ok(reference),
        }
    }

    /// Where to ask for `reference`, in order: mirrors, and the registry last.
    ///
    /// # Errors
    /// [`SettingsError::Blocked`] where the user forbade the registry; a file that cannot be read
    /// or makes no sense.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, SettingsError> {
        let mut out = Vec::new();
        if let Some(folder) = &self.settings.registry_hosts {
            for host in Hosts::load(folder, reference.domain())?.0 {
                out.extend(self.host(reference, host));
            }
            return Ok(out);
        }
        self.check_blocked(reference)?;
        let Some((registry, len)) = self.conf.find(&reference.name()) else {
            return self.place(reference, false, None);
        };
        for mirror in registry.mirrors.iter().filter(|one| serves(one, reference)) {
            let place = moved(reference, registry, &mirror.location, len)?;
            // A mirror may itself be blocked, as containers/image has it: then it is left out.
            if self.check_blocked(&place).is_ok() {
                out.extend(self.place(&place, mirror.insecure, Some(mirror.used_for))?);
            }
        }
        let place = moved(reference, registry, &registry.location, len)?;
        self.check_blocked(&place)?;
        out.extend(self.place(&place, registry.insecure, None)?);
        Ok(out)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What `registries.conf` names to ask for credentials, in order.
    pub(super) fn credential_helpers(&self) -> Option<&[String]> {
        self.conf.credential_helpers()
    }

    fn check_blocked(&self, reference: &Reference) -> Result<(), SettingsError> {
        match self.conf.find(&reference.name()) {
            Some((registry, _)) if registry.blocked => Err(SettingsError::Blocked {
                name: reference.name(),
                prefix: registry.prefix.clone(),
                path: registry.origin.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The endpoints of a registry, or of a mirror with its use.
    fn place(
        &self,
        reference: &Reference,
        insecure: bool,
        mirror: Option<UsedFor>,
    ) -> Result<Vec<Endpoint>, SettingsError> {
        let domain = reference.domain();
        let tls = certificates::find(&self.settings.environment, domain)?;
        let endpoint = |scheme, tls| Endpoint {
            scheme,
            host: connection(domain).to_owned(),
            prefix: String::new(),
            repository: reference.repository().to_owned(),
            tls,
            by_tag: mirror != Some(UsedFor::Digests),
            is_mirror: mirror.is_some(),
        };
        if !insecure || self.is_plain(domain) {
            let (scheme, tls) = self.scheme(domain, tls);
            return Ok(vec![endpoint(scheme, tls)]);
        }
        let tls = Tls {
            skip_verify: true,
            ..self.trusting(tls.unwrap_or_default())
        };
        // TLS is a first try, which may fail without anyone's fault.
        let secure = Endpoint {
            is_mirror: true,
            ..endpoint(Scheme::Https, tls)
        };
        Ok(vec![secure, endpoint(Scheme::Http, Tls::default())])
    }

    /// The endpoints of a host in `hosts.toml`.
    fn host(&self, reference: &Reference, host: Host) -> Vec<Endpoint> {
        let domain = reference.domain();
        let Some(url) = host.url else {
            let (scheme, tls) = self.scheme(domain, host.tls);
            return vec![Endpoint {
                scheme,
                host: connection(domain).to_owned(),
                prefix: String::new(),
                repository: reference.repository().to_owned(),
                tls,
                by_tag: host.by_tag,
                is_mirror: false,
            }];
        };
        let endpoint = |scheme, tls, is_mirror| Endpoint {
            scheme,
            host: connection(&url.host).to_owned(),
            prefix: url.prefix.clone(),
            repository: format!("{}{}", url.namespace, reference.repository()),
            tls,
            by_tag: host.by_tag,
            is_mirror,
        };
        let is_mirror = connection(&url.host) != connection(domain);
        let is_ambiguous = url.scheme == Scheme::Http && port(&url.host) != Some("80");
        let mut out = Vec::new();
        match (url.scheme, host.tls) {
            _ if self.is_plain(&url.host) => {}
            // http:// with certificates: containerd tries TLS first.
            (Scheme::Http, Some(tls)) if is_ambiguous => {
                out.push(endpoint(Scheme::Https, self.trusting(tls), true));
            }
            (Scheme::Http, _) => {}
            (Scheme::Https, tls) => {
                let tls = self.trusting(tls.unwrap_or_default());
                return vec![endpoint(Scheme::Https, tls, is_mirror)];
            }
        }
        out.push(endpoint(Scheme::Http, Tls::default(), is_mirror));
        out
    }

    /// How a registry is spoken to by its name and the certificates for it alone.
    fn scheme(&self, domain: &str, tls: Option<Tls>) -> (Scheme, Tls) {
        let has_own = tls.is_some() || !self.settings.registry_ca.is_empty();
        let is_local = is_loopback(domain) && !matches!(port(domain), None | Some("443"));
        if self.is_plain(domain) || (is_local && !has_own) {
            (Scheme::Http, Tls::default())
        } else {
            (Scheme::Https, self.trusting(tls.unwrap_or_default()))
        }
    }

    /// With the authorities that the user trusts everywhere.
    fn trusting(&self, mut tls: Tls) -> Tls {
        tls.authorities
            .extend(self.settings.registry_ca.iter().cloned());
        tls
    }

    /// True where a flag says so.
    fn is_plain(&self, domain: &str) -> bool {
        let flags = self.settings.plain_http.iter();
        flags.into_iter().any(|host| host == domain)
    }
}

/// Whether a mirror is asked for `reference`.
fn serves(mirror: &Mirror, reference: &Reference) -> bool {
    match mirror.used_for {
        UsedFor::All => true,
        UsedFor::Digests => reference.digest().is_some(),
        UsedFor::Tags => reference.digest().is_none(),
    }
}

/// `reference` with `location` for the first `len` bytes of its name.
fn moved(
    reference: &Reference,
    registry: &Registry,
    location: &str,
    len: usize,
) -> Result<Reference, SettingsError> {
    if location.is_empty() {
        return Ok(reference.clone());
    }
    let name = reference.name();
    let rest = name.get(len..).unwrap_or_default();
    let moved = reference.renamed(&format!("{location}{rest}"));
    moved.map_err(|error| SettingsError::Location {
        name,
        location: location.to_owned(),
        path: registry.origin.clone(),
        reason: error.to_string(),
    })
}

/// Where connections to a registry go.
fn connection(domain: &str) -> &str {
    if domain == DOCKER_HUB.0 {
        DOCKER_HUB.1
    } else {
        domain
    }
}

fn port(domain: &str) -> Option<&str> {
    let (_, port) = domain.rsplit_once(':')?;
    (!port.ends_with(']')).then_some(port)
}

/// True for the machine itself.
fn is_loopback(domain: &str) -> bool {
    let host = match port(domain) {
        Some(port) => domain
            .strip_suffix(port)
            .unwrap_or(domain)
            .trim_end_matches(':'),
        None => domain,
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself() {
        for (domain, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("128.0.0.1", false),
            ("127.0.0.1.example.com:5000", false),
            ("[::2]:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(domain), expected, "{domain}");
        }
        assert_eq!((port("[::1]"), port("[::1]:5")), (None, Some("5")));
    }
}
