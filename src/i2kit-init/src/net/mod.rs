//! The network: loopback, and the first Ethernet interface by configuration, DHCP and routers.

pub mod addresses;
pub mod client;
pub mod dhcp;
mod dhcp6;
pub mod dns;
pub mod files;
pub mod iface;
mod iface6;
mod ipv6;
pub mod keeper;
pub mod own;
mod ra;
pub mod settings;
pub mod setup;
