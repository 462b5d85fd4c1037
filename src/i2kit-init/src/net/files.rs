//! The generated `hosts`, `hostname` and `resolv.conf`. Containers have them bind-mounted, so
//! they are changed in place.

use std::{fs, net::Ipv4Addr, path::Path};

use i2kit_contract::Names;

use crate::{
    fault::{Context, Fault},
    net::dhcp::Lease,
    paths,
};

/// What the kubelet and the C library allow.
const MOST_NAME_SERVERS: usize = 3;

/// The machine's name, and what the Pod says of names.
#[derive(Clone, Debug)]
pub struct Host {
    /// The host name.
    pub name: String,
    /// The Pod's.
    pub names: Names,
}

/// Writes the files as they are without a lease.
///
/// # Errors
/// A file cannot be written.
pub fn write_initial(host: &Host) -> Result<(), Fault> {
    fs::create_dir_all(paths::ETC).context("create", paths::ETC)?;
    write("hostname", &format!("{}\n", host.name))?;
    write("hosts", &hosts(host, None))?;
    write("resolv.conf", &resolv_conf(host, None))
}

/// Writes the files for a lease.
///
/// # Errors
/// A file cannot be written.
pub fn write_for_lease(host: &Host, lease: &Lease) -> Result<(), Fault> {
    write("hosts", &hosts(host, Some(lease.address)))?;
    write("resolv.conf", &resolv_conf(host, Some(lease)))
}

fn write(name: &str, text: &str) -> Result<(), Fault> {
    let path = Path::new(paths::ETC).join(name);
    fs::write(&path, text).context("write", path.display())
}

/// What the kubelet writes, without its comment. Without an address the name is the loopback's,
/// so that a program that looks up its own name starts.
fn hosts(host: &Host, address: Option<Ipv4Addr>) -> String {
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
    let mut own = host.name.clone();
    if let Some(fqdn) = &host.names.fqdn {
        let short = host.name.split('.').next().unwrap_or_default();
        own = format!("{fqdn}\t{short}");
    }
    let aliases = host.names.aliases.iter();
    let aliases: String = aliases
        .map(|alias| format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")))
        .collect();
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n\
         {address}\t{own}\n\
         {aliases}"
    )
}

/// What the network tells, then what the Pod adds, as the kubelet merges them: the first name
/// servers count, each search domain once.
fn resolv_conf(host: &Host, lease: Option<&Lease>) -> String {
    let names = &host.names;
    let lease = lease.filter(|_| !names.ignore_network);
    let servers = lease.into_iter().flat_map(|lease| &lease.dns);
    let servers = servers.map(ToString::to_string);
    let mut all: Vec<String> = Vec::new();
    for server in servers.chain(names.nameservers.iter().cloned()) {
        if !all.contains(&server) {
            all.push(server);
        }
    }
    let mut searches: Vec<&str> = Vec::new();
    let domain = lease.and_then(|lease| lease.domain.as_deref());
    for search in domain
        .into_iter()
        .chain(names.searches.iter().map(String::as_str))
    {
        if !searches.contains(&search) {
            searches.push(search);
        }
    }
    let line = |word: &str, words: &[&str]| match words {
        [] => String::new(),
        words => format!("{word} {}\n", words.join(" ")),
    };
    let options: Vec<&str> = names.options.iter().map(String::as_str).collect();
    let servers = all.iter().take(MOST_NAME_SERVERS);
    let servers: String = servers
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    line("search", &searches) + &servers + &line("options", &options)
}

#[cfg(test)]
mod tests {
    use i2kit_contract::HostAlias;

    use super::*;

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: Vec::new(),
            dns: vec![Ipv4Addr::new(10, 0, 2, 3); 5],
            domain: Some("example.org".into()),
            mtu: None,
            seconds: 60,
            renew: 30,
            rebind: 50,
        }
    }

    fn host(names: Names) -> Host {
        Host {
            name: "web".into(),
            names,
        }
    }

    #[test]
    fn a_lease_becomes_resolv_conf() {
        assert_eq!(
            resolv_conf(&host(Names::default()), Some(&lease())),
            "search example.org\nnameserver 10.0.2.3\n"
        );
        assert_eq!(resolv_conf(&host(Names::default()), None), "");
    }

    #[test]
    fn the_pod_adds_to_resolv_conf_or_takes_it_over() {
        let mut names = Names {
            nameservers: ["10.0.2.3", "1.1.1.1", "1.1.1.2", "1.1.1.3"]
                .map(str::to_owned)
                .into(),
            searches: ["example.org", "a.example"].map(str::to_owned).into(),
            options: ["ndots:2", "edns0"].map(str::to_owned).into(),
            ..Names::default()
        };
        assert_eq!(
            resolv_conf(&host(names.clone()), Some(&lease())),
            "search example.org a.example\nnameserver 10.0.2.3\nnameserver 1.1.1.1\n\
             nameserver 1.1.1.2\noptions ndots:2 edns0\n"
        );
        names.ignore_network = true;
        names.nameservers = vec!["9.9.9.9".into()];
        names.searches.clear();
        assert_eq!(
            resolv_conf(&host(names), Some(&lease())),
            "nameserver 9.9.9.9\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn names_are_in_hosts_with_and_without_an_address() {
        let plain = host(Names::default());
        assert!(hosts(&plain, None).ends_with("127.0.0.1\tweb\n"));
        let address = Some(Ipv4Addr::new(10, 0, 2, 15));
        assert!(hosts(&plain, address).ends_with("10.0.2.15\tweb\n"));
        let more = host(Names {
            fqdn: Some("web.sub.default.svc.cluster.local".into()),
            aliases: vec![HostAlias {
                ip: "10.1.2.3".into(),
                hostnames: vec!["a".into(), "b.c".into()],
            }],
            ..Names::default()
        });
        let end = "10.0.2.15\tweb.sub.default.svc.cluster.local\tweb\n10.1.2.3\ta\tb.c\n";
        assert!(
            hosts(&more, address).ends_with(end),
            "{}",
            hosts(&more, address)
        );
    }
}
