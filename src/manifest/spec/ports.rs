//! `ContainerPort`.

use std::net::IpAddr;

use i2kit_contract::{Port, Protocol, STATE_PORT};

use super::super::decode::{Field, Fields, Report};
use super::super::{fields, names};
use super::{Unique, one_of};

/// A container's `ports`.
pub fn ports(report: &mut Report, container: &Fields<'_>) -> Vec<Port> {
    let mut unique = Unique::default();
    let mut ports = Vec::new();
    for item in container.items(report, "ports") {
        let Some(fields) = item.fields(report, &fields::PORT) else {
            continue;
        };
        let name = fields.get_text("name").and_then(|f| {
            let name = f.checked(report, names::port_name)?;
            unique.check(report, &f, &name);
            Some(name)
        });
        let field = fields.require(report, "containerPort");
        let number = field.as_ref().and_then(|f| number(report, f));
        let protocol = protocol(report, &fields);
        if let (Some(field), Some(STATE_PORT), Protocol::Tcp) = (&field, number, protocol) {
            field.refuse(report, "is the port where the VM tells the Pod's state");
        }
        let host_port = fields.get("hostPort").and_then(|f| host_port(report, &f));
        let host_ip = fields.get_text("hostIP").and_then(|f| address(report, &f));
        if let Some(container_port) = number {
            ports.push(Port {
                name,
                container_port,
                protocol,
                host_port,
                host_ip,
            });
        }
    }
    ports
}

fn number(report: &mut Report, field: &Field<'_>) -> Option<u16> {
    let number = field.ranged(report, 1, u32::from(u16::MAX))?;
    u16::try_from(number).ok()
}

/// 0 is Go's "not set".
fn host_port(report: &mut Report, field: &Field<'_>) -> Option<u16> {
    let number = field.ranged(report, 0, u32::from(u16::MAX))?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}

fn address(report: &mut Report, field: &Field<'_>) -> Option<IpAddr> {
    let address = field.string(report)?.parse().ok();
    if address.is_none() {
        field.refuse(report, "is no IP address");
    }
    address
}

fn protocol(report: &mut Report, port: &Fields<'_>) -> Protocol {
    let all = [
        ("TCP", Protocol::Tcp),
        ("UDP", Protocol::Udp),
        ("SCTP", Protocol::Sctp),
    ];
    one_of(report, port, "protocol", &all).unwrap_or_default()
}
