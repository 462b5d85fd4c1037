//! Sets up the first Ethernet interface: what is configured, then what DHCP and routers say.

use std::{net::IpAddr, sync::mpsc, thread, time::Duration};

use i2kit_contract::runtime::{Destination, Ipv6, Mtu, Network};

use crate::{
    console::Console,
    fault::{Chain, Context, Fault},
    net::{
        client::Client,
        iface::{self, Interface},
        iface6, ipv6,
        settings::{Settings, fixed_ipv4},
    },
};

/// How long the first interface may take to appear before the Pod starts without a network.
const INTERFACE_PATIENCE: Duration = Duration::from_secs(5);

/// Starts the set-up; the receiver hears of the first address, and its sender goes when no
/// interface appears in time. One that appears later is used all the same.
///
/// # Errors
/// No thread can be started.
pub fn start(settings: &Settings, console: &Console) -> Result<mpsc::Receiver<()>, Fault> {
    let (sender, receiver) = mpsc::channel();
    let (settings, console) = (settings.clone(), console.clone());
    let work = move || {
        let (interface, ready) = match iface::wait_for_first(Some(INTERFACE_PATIENCE)) {
            Some(interface) => (interface, Some(sender)),
            None => {
                drop(sender);
                console.say("network: no Ethernet interface");
                match iface::wait_for_first(None) {
                    Some(interface) => (interface, None),
                    None => return,
                }
            }
        };
        if let Err(error) = run(interface, settings, &console, ready) {
            console.say(format_args!("network: {}", Chain(&error)));
        }
    };
    thread::Builder::new()
        .name("network".into())
        .spawn(work)
        .context("start", "the network's thread")?;
    Ok(receiver)
}

fn run(
    interface: Interface,
    settings: Settings,
    console: &Console,
    ready: Option<mpsc::Sender<()>>,
) -> Result<(), Fault> {
    let network = settings.network();
    let mode = network.ipv6.unwrap_or_default();
    let name = interface.name.clone();
    iface6::choose(&name, mode).context("set IPv6 of", &name)?;
    if mode == Ipv6::Auto {
        // Before the link is up, so that no advertisement is missed.
        ipv6::start(&interface, &settings, console)?;
    }
    iface::bring_up(&name)?;
    let (fixed, _) = fixed_ipv4(&network);
    if let Some(lease) = &fixed {
        for warning in iface::configure(&name, lease)? {
            console.say(format_args!("network: {warning}"));
        }
        console.say(format_args!(
            "network: {name} {}/{}, as configured",
            lease.address, lease.prefix
        ));
    }
    add_fixed(&interface, &network, console);
    settings.write()?;
    if network.wants_lease() {
        return Client::new(interface, settings, console.clone(), ready).run();
    }
    if let Some(ready) = ready {
        // Nobody listens any more when the Pod was started without a network.
        let _ = ready.send(());
    }
    Ok(())
}

/// Adds what is configured besides one IPv4 address. What the kernel refuses is a line on the
/// console: the rest may be enough to be told about it.
pub fn add_fixed(interface: &Interface, network: &Network, console: &Console) {
    let Interface { name, index, .. } = interface;
    let tell = |what: &str, result: std::io::Result<()>| {
        if let Err(error) = result {
            console.say(format_args!("network: add {what} to {name}: {error}"));
        }
    };
    if let Some(Mtu(mtu)) = network.mtu {
        tell(&format!("MTU {mtu}"), iface::set_mtu(name, mtu));
    }
    let (_, others) = fixed_ipv4(network);
    for (number, (address, prefix)) in (1..).zip(others) {
        // The classic ioctl gives an interface one address, and more under names of their own.
        let label = format!("{name}:{number}");
        tell(
            &format!("{address}/{prefix}"),
            iface::set_address(&label, address, prefix),
        );
    }
    for cidr in &network.addresses {
        if let IpAddr::V6(address) = cidr.address {
            tell(
                &cidr.to_string(),
                iface6::add_address(*index, address, cidr.prefix),
            );
            console.say(format_args!("network: {name} {cidr}, as configured"));
        }
    }
    for route in network.routes.iter().filter(|route| route.is_ipv6()) {
        let (to, prefix) = match route.to {
            Destination::Network(cidr) => (cidr.address, cidr.prefix),
            Destination::Default => (std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let (IpAddr::V6(to), via) = (to, route.via) else {
            continue;
        };
        let via = via.and_then(|via| match via {
            IpAddr::V6(via) => Some(via),
            IpAddr::V4(_) => None,
        });
        tell(
            &format!("a route to {}", route.to),
            iface6::add_route(*index, to, prefix, via),
        );
    }
}
