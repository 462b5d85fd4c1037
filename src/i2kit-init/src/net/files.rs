//! The generated `hosts`, `hostname` and `resolv.conf`. Containers have them bind-mounted, so
//! they are changed in place.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use crate::{
    fault::{Context, Fault},
    paths,
};

/// What the kubelet and the C library allow.
const MOST_NAME_SERVERS: usize = 3;
/// What the kubelet allows.
const MOST_SEARCH_DOMAINS: usize = 32;

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The address that the host name stands for.
    pub address: Option<IpAddr>,
    /// Name servers, in order of preference.
    pub servers: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    pub search: Vec<String>,
}

/// Writes the files.
///
/// # Errors
/// A file cannot be written.
pub fn write(hostname: &str, names: &Names) -> Result<(), Fault> {
    fs::create_dir_all(paths::ETC).context("create", paths::ETC)?;
    write_one("hostname", &format!("{hostname}\n"))?;
    write_one("hosts", &hosts(hostname, names.address))?;
    write_one("resolv.conf", &resolv_conf(names))
}

fn write_one(name: &str, text: &str) -> Result<(), Fault> {
    let path = Path::new(paths::ETC).join(name);
    fs::write(&path, text).context("write", path.display())
}

/// What the kubelet writes, without its comment. Without an address the name is the loopback's,
/// so that a program that looks up its own name starts.
fn hosts(hostname: &str, address: Option<IpAddr>) -> String {
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n\
         {address}\t{hostname}\n"
    )
}

fn resolv_conf(names: &Names) -> String {
    let domains: Vec<&str> = names.search.iter().map(String::as_str).collect();
    let domains = domains.get(..MOST_SEARCH_DOMAINS).unwrap_or(&domains);
    let search = (!domains.is_empty()).then(|| format!("search {}\n", domains.join(" ")));
    let servers = names.servers.iter().take(MOST_NAME_SERVERS);
    let servers = servers.map(|server| format!("nameserver {server}\n"));
    search.into_iter().chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_resolv_conf() {
        let names = Names {
            address: None,
            servers: vec!["10.0.2.3".parse().unwrap(); 5],
            search: vec!["example.org".into(), "example.net".into()],
        };
        let server = "nameserver 10.0.2.3\n";
        assert_eq!(
            resolv_conf(&names),
            format!("search example.org example.net\n{}", server.repeat(3))
        );
        assert_eq!(resolv_conf(&Names::default()), "");
    }

    #[test]
    fn the_host_name_is_in_hosts_with_and_without_an_address() {
        assert!(hosts("web", None).ends_with("127.0.0.1\tweb\n"));
        assert!(hosts("web", Some("10.0.2.15".parse().unwrap())).ends_with("10.0.2.15\tweb\n"));
    }
}
