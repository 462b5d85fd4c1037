//! Kernel parameters and huge pages that the Pod asks for.

use std::{fs, io, path::Path};

use i2kit_contract::{HugePages, Sysctl};

use crate::fault::{Context, Fault};

/// Sets kernel parameters.
///
/// # Errors
/// One does not exist, or does not take the value.
pub fn set(sysctls: &[Sysctl]) -> Result<(), Fault> {
    for Sysctl { name, value } in sysctls {
        let path = path_of(name);
        fs::write(&path, value).context("set kernel parameter", format_args!("{name}={value}"))?;
    }
    Ok(())
}

/// Dots are folders; a slash is a dot that belongs to a name (sysctl(8)).
fn path_of(name: &str) -> String {
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    format!("/proc/sys/{}", swapped.collect::<String>())
}

/// Reserves huge pages: early, while memory is not fragmented.
///
/// # Errors
/// The kernel has no such pages, or cannot find so many.
pub fn reserve(pages: &[HugePages]) -> Result<(), Fault> {
    for HugePages { page_bytes, bytes } in pages {
        let file = format!(
            "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
            page_bytes >> 10
        );
        let path = Path::new(&file);
        let wanted = bytes.div_ceil((*page_bytes).max(1));
        fs::write(path, wanted.to_string()).context("reserve huge pages in", &file)?;
        let got = fs::read_to_string(path).context("read", &file)?;
        let got: u64 = got.trim().parse().unwrap_or(0);
        if got < wanted {
            let object = format!("{wanted} huge pages of {page_bytes} bytes (got {got})");
            return Err(Fault::new("reserve", object, io::ErrorKind::OutOfMemory));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_folders_and_slashes_dots() {
        assert_eq!(
            path_of("net.core.somaxconn"),
            "/proc/sys/net/core/somaxconn"
        );
        assert_eq!(
            path_of("net.ipv4.conf.eth0/1.forwarding"),
            "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
        );
    }
}
