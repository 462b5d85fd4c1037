//! The generated `hosts`, `hostname` and `resolv.conf`. Containers have them bind-mounted, so
//! they are changed in place.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use i2kit_contract::Names;

use crate::{
    fault::{Context, Fault},
    paths,
};

/// What the kubelet and the C library allow.
const MOST_NAME_SERVERS: usize = 3;
/// What the kubelet allows.
const MOST_SEARCH_DOMAINS: usize = 32;

/// What is known of the machine's network, for the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
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
pub fn write(hostname: &str, names: &Names, resolved: &Resolved) -> Result<(), Fault> {
    fs::create_dir_all(paths::ETC).context("create", paths::ETC)?;
    write_one("hostname", &format!("{hostname}\n"))?;
    write_one("hosts", &hosts(hostname, names, resolved.address))?;
    write_one("resolv.conf", &resolv_conf(names, resolved))
}

fn write_one(name: &str, text: &str) -> Result<(), Fault> {
    let path = Path::new(paths::ETC).join(name);
    fs::write(&path, text).context("write", path.display())
}

/// What the kubelet writes, without its comment. Without an address the name is the loopback's,
/// so that a program that looks up its own name starts.
fn hosts(hostname: &str, names: &Names, address: Option<IpAddr>) -> String {
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let own = own_names(hostname, names);
    let aliases = names.aliases.iter();
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

/// The host name, behind the fully qualified one. The run-time configuration may have named the
/// machine anew, within the same domain.
fn own_names(hostname: &str, names: &Names) -> String {
    let fqdn = names.fqdn.as_ref().and_then(|fqdn| fqdn.split_once('.'));
    let short = hostname.split('.').next().unwrap_or_default();
    match fqdn {
        Some((_, domain)) => format!("{short}.{domain}\t{short}"),
        None => hostname.to_owned(),
    }
}

fn resolv_conf(names: &Names, resolved: &Resolved) -> String {
    let line = |word: &str, words: &[String]| match words {
        [] => String::new(),
        words => format!("{word} {}\n", words.join(" ")),
    };
    let domains = resolved.search.as_slice();
    let domains = domains.get(..MOST_SEARCH_DOMAINS).unwrap_or(domains);
    let servers = resolved.servers.iter().take(MOST_NAME_SERVERS);
    let servers: String = servers
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    line("search", domains) + &servers + &line("options", &names.options)
}

#[cfg(test)]
mod tests {
    use i2kit_contract::HostAlias;

    use super::*;

    #[test]
    fn names_become_resolv_conf() {
        let server = "nameserver 10.0.2.3\n";
        let names = Names {
            options: ["ndots:2", "edns0"].map(str::to_owned).into(),
            ..Names::default()
        };
        let resolved = Resolved {
            address: None,
            servers: vec!["10.0.2.3".parse().unwrap(); 5],
            search: vec!["example.org".into(), "example.net".into()],
        };
        assert_eq!(
            resolv_conf(&names, &resolved),
            format!(
                "search example.org example.net\n{}options ndots:2 edns0\n",
                server.repeat(3)
            )
        );
        let nothing = resolv_conf(&Names::default(), &Resolved::default());
        assert_eq!(nothing, "");
    }

    #[test]
    fn names_are_in_hosts_with_and_without_an_address() {
        let plain = Names::default();
        assert!(hosts("web", &plain, None).ends_with("127.0.0.1\tweb\n"));
        let address = Some("10.0.2.15".parse().unwrap());
        assert!(hosts("web", &plain, address).ends_with("10.0.2.15\tweb\n"));
        let more = Names {
            fqdn: Some("web.sub.default.svc.cluster.local".into()),
            aliases: vec![HostAlias {
                ip: "10.1.2.3".into(),
                hostnames: vec!["a".into(), "b.c".into()],
            }],
            ..Names::default()
        };
        for (hostname, own) in [
            ("web", "web.sub.default.svc.cluster.local\tweb"),
            ("web-7", "web-7.sub.default.svc.cluster.local\tweb-7"),
            (
                "web.sub.default.svc.cluster.local",
                "web.sub.default.svc.cluster.local\tweb",
            ),
        ] {
            let text = hosts(hostname, &more, address);
            let end = format!("10.0.2.15\t{own}\n10.1.2.3\ta\tb.c\n");
            assert!(text.ends_with(&end), "{text}");
        }
    }
}
