//! The network: loopback, and DHCPv4 on the first Ethernet interface.

pub mod client;
pub mod dhcp;
pub mod files;
pub mod iface;
pub mod keeper;
pub mod own;
