//! Names, name service and namespaces of a Pod.

use std::net::IpAddr;

use i2kit_contract::{HostAlias, Names, ProcessNamespace};

use super::super::decode::{Field, Fields, Report};
use super::super::{fields, names};
use super::one_of;

/// Most name servers, search domains and characters of all of those (`ValidatePodDNSConfig`).
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
/// Longest host name that Linux takes.
const MAX_HOSTNAME: usize = 64;

/// Reads `hostAliases`, `dnsPolicy` and `dnsConfig`.
pub fn read_names(report: &mut Report, spec: &Fields<'_>) -> Names {
    let policies = [
        ("ClusterFirst", false),
        ("ClusterFirstWithHostNet", false),
        ("Default", false),
        ("None", true),
    ];
    let ignore_network = one_of(report, spec, "dnsPolicy", &policies).unwrap_or_default();
    let mut names = Names {
        ignore_network,
        aliases: aliases(report, spec),
        ..Names::default()
    };
    let config = spec.get("dnsConfig");
    if let Some(fields) = config.and_then(|f| f.fields(report, &fields::DNS_CONFIG)) {
        names.nameservers = nameservers(report, &fields);
        names.searches = searches(report, &fields);
        names.options = options(report, &fields);
    }
    if ignore_network
        && names.nameservers.is_empty()
        && let Some(policy) = spec.get("dnsPolicy")
    {
        policy.refuse(report, "needs dnsConfig.nameservers");
    }
    names
}

fn aliases(report: &mut Report, spec: &Fields<'_>) -> Vec<HostAlias> {
    let mut aliases = Vec::new();
    for item in spec.items(report, "hostAliases") {
        let Some(fields) = item.fields(report, &fields::HOST_ALIAS) else {
            continue;
        };
        let ip = fields
            .require(report, "ip")
            .and_then(|f| f.checked(report, address));
        let items = fields.items(report, "hostnames");
        let hostnames = items
            .iter()
            .filter_map(|item| item.checked(report, names::dns_subdomain))
            .collect();
        aliases.extend(ip.map(|ip| HostAlias { ip, hostnames }));
    }
    aliases
}

fn address(text: &str) -> Result<(), String> {
    let parsed = text.parse::<IpAddr>();
    parsed.map(drop).map_err(|_| "is no IP address".to_owned())
}

fn nameservers(report: &mut Report, config: &Fields<'_>) -> Vec<String> {
    let items = config.items(report, "nameservers");
    let servers: Vec<_> = items
        .iter()
        .filter_map(|item| item.checked(report, address))
        .collect();
    at_most(
        report,
        config,
        "nameservers",
        servers.len(),
        MAX_NAMESERVERS,
    );
    servers
}

fn searches(report: &mut Report, config: &Fields<'_>) -> Vec<String> {
    let items = config.items(report, "searches");
    let searches: Vec<_> = items
        .iter()
        .filter_map(|item| item.checked(report, search_domain))
        .collect();
    at_most(report, config, "searches", searches.len(), MAX_SEARCHES);
    if searches.join(" ").len() > MAX_SEARCH_CHARS
        && let Some(field) = config.get("searches")
    {
        field.refuse(
            report,
            format!("must be at most {MAX_SEARCH_CHARS} characters"),
        );
    }
    searches
}

/// A trailing dot, or the root alone, is a search domain, too.
fn search_domain(text: &str) -> Result<(), String> {
    match text {
        "." => Ok(()),
        _ => names::dns_subdomain(text.strip_suffix('.').unwrap_or(text)),
    }
}

fn options(report: &mut Report, config: &Fields<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for item in config.items(report, "options") {
        let Some(fields) = item.fields(report, &fields::DNS_OPTION) else {
            continue;
        };
        let name = fields
            .require(report, "name")
            .and_then(|f| f.checked(report, word));
        let value = fields
            .get_text("value")
            .and_then(|f| f.checked(report, word));
        options.extend(name.map(|name| match value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        }));
    }
    options
}

/// One word of resolv.conf(5).
fn word(text: &str) -> Result<(), String> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("must be printable characters without white space".to_owned()),
    }
}

fn at_most(report: &mut Report, config: &Fields<'_>, name: &str, len: usize, max: usize) {
    if len > max
        && let Some(field) = config.get(name)
    {
        field.refuse(
            report,
            format!("has {len} entries, at most {max} are allowed"),
        );
    }
}

/// Reads `shareProcessNamespace` and `hostPID`.
pub fn process_namespace(report: &mut Report, spec: &Fields<'_>) -> ProcessNamespace {
    let mut flag = |name| {
        let field: Option<Field<'_>> = spec.get(name);
        field.and_then(|f| f.boolean(report)).unwrap_or_default()
    };
    match (flag("shareProcessNamespace"), flag("hostPID")) {
        (false, false) => ProcessNamespace::Container,
        (true, false) => ProcessNamespace::Pod,
        (false, true) => ProcessNamespace::Guest,
        (true, true) => {
            if let Some(field) = spec.get("shareProcessNamespace") {
                field.refuse(report, "contradicts hostPID");
            }
            ProcessNamespace::Pod
        }
    }
}

/// Reads `hostnameOverride`.
pub fn hostname_override(report: &mut Report, spec: &Fields<'_>) -> Option<String> {
    let field = spec.get_text("hostnameOverride")?;
    let name = field.checked(report, |text| match text.len() {
        ..=MAX_HOSTNAME => names::dns_subdomain(text),
        len => Err(format!(
            "is {len} characters long, at most {MAX_HOSTNAME} are allowed"
        )),
    });
    let as_fqdn = spec.get("setHostnameAsFQDN");
    if as_fqdn.and_then(|f| f.boolean(&mut Report::default())) == Some(true) {
        field.refuse(report, "contradicts setHostnameAsFQDN");
    }
    name
}

/// Reads `serviceAccountName`, or `serviceAccount`, its old name.
pub fn service_account(report: &mut Report, spec: &Fields<'_>) -> String {
    let field = spec
        .get_text("serviceAccountName")
        .or_else(|| spec.get_text("serviceAccount"));
    let Some(field) = field else {
        return "default".to_owned();
    };
    let name = field.checked(report, names::dns_subdomain);
    if name.as_deref().is_some_and(|name| name != "default") {
        let why = "a name alone, since a VM has no API server to have rights with";
        report.note(field.position(), format!("{}: {why}", field.path));
    }
    name.unwrap_or_default()
}
