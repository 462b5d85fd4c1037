//! The generated `hosts`, `hostname` and `resolv.conf`. Containers have them bind-mounted, so
//! they are changed in place.

use std::{fs, net::Ipv4Addr, path::Path};

use crate::{
    fault::{Context, Fault},
    net::dhcp::Lease,
    paths,
};

/// What the kubelet and the C library allow.
const MOST_NAME_SERVERS: usize = 3;

/// Writes the files as they are without a lease.
///
/// # Errors
/// A file cannot be written.
pub fn write_initial(hostname: &str) -> Result<(), Fault> {
    fs::create_dir_all(paths::ETC).context("create", paths::ETC)?;
    write("hostname", &format!("{hostname}\n"))?;
    write("hosts", &hosts(hostname, None))?;
    write("resolv.conf", "")
}

/// Writes the files for a lease.
///
/// # Errors
/// A file cannot be written.
pub fn write_for_lease(hostname: &str, lease: &Lease) -> Result<(), Fault> {
    write("hosts", &hosts(hostname, Some(lease.address)))?;
    write("resolv.conf", &resolv_conf(lease))
}

fn write(name: &str, text: &str) -> Result<(), Fault> {
    let path = Path::new(paths::ETC).join(name);
    fs::write(&path, text).context("write", path.display())
}

/// What the kubelet writes, without its comment. Without an address the name is the loopback's,
/// so that a program that looks up its own name starts.
fn hosts(hostname: &str, address: Option<Ipv4Addr>) -> String {
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
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

fn resolv_conf(lease: &Lease) -> String {
    let search = lease
        .domain
        .iter()
        .map(|domain| format!("search {domain}\n"));
    let servers = lease
        .dns
        .iter()
        .take(MOST_NAME_SERVERS)
        .map(|server| format!("nameserver {server}\n"));
    search.chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_becomes_resolv_conf() {
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: Vec::new(),
            dns: vec![Ipv4Addr::new(10, 0, 2, 3); 5],
            domain: Some("example.org".into()),
            mtu: None,
            seconds: 60,
            renew: 30,
            rebind: 50,
        };
        let server = "nameserver 10.0.2.3\n";
        assert_eq!(
            resolv_conf(&lease),
            format!("search example.org\n{}", server.repeat(3))
        );
    }

    #[test]
    fn the_host_name_is_in_hosts_with_and_without_an_address() {
        assert!(hosts("web", None).ends_with("127.0.0.1\tweb\n"));
        assert!(hosts("web", Some(Ipv4Addr::new(10, 0, 2, 15))).ends_with("10.0.2.15\tweb\n"));
    }
}
