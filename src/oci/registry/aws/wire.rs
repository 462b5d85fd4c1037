//! Requests over the network, by the clients that registries are spoken to with.

use std::path::Path;
use std::time::Duration;

use ureq::http::Request;

use super::{Http, HttpRequest, HttpResponse, Reach};
use crate::oci::registry::agents::Agents;
use crate::oci::registry::url::Url;
use crate::oci::registry::{Options, Proxies, Settings, Timeouts, Tls};

/// More than any answer has.
const MAX_ANSWER: u64 = 1 << 20;
/// For a service: to connect, and for everything.
const SERVICE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(30)];
/// The same for what is around the machine.
const MACHINE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Sends requests with the user's proxies and authorities.
#[derive(Debug)]
pub(in crate::oci::registry) struct Wire {
    agents: Agents,
    tls: Tls,
    service: Options,
    /// No proxy stands before what is around the machine.
    machine: Options,
}

impl Wire {
    pub fn new(settings: &Settings) -> Self {
        let environment = &settings.environment;
        let own = environment.path("AWS_CA_BUNDLE").map(Path::to_owned);
        let authorities = own.into_iter().chain(settings.registry_ca.iter().cloned());
        Self {
            agents: Agents::default(),
            tls: Tls {
                authorities: authorities.collect(),
                ..Tls::default()
            },
            service: options(SERVICE, Proxies::of_environment(environment)),
            machine: options(MACHINE, Proxies::default()),
        }
    }
}

impl Http for Wire {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, String> {
        let uri = format!("{}{}", request.origin, request.path);
        let url = Url::parse(&request.shown())?;
        let mut head = Request::builder().method(request.method).uri(uri);
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let body = request.body.as_bytes();
        let all = head.body(body).map_err(|error| error.to_string())?;
        let (options, [_, whole]) = match request.reach {
            Reach::Service => (&self.service, SERVICE),
            Reach::Machine => (&self.machine, MACHINE),
        };
        let agent = self.agents.agent(options, &self.tls, &url);
        let agent = agent.map_err(|reason| reason.to_string())?;
        let all = agent.configure_request(all);
        let all = all.timeout_global(Some(whole)).build();
        let mut answer = agent.run(all).map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        Ok(HttpResponse {
            body: body.read_to_vec().map_err(|error| error.to_string())?,
            status: answer.status().as_u16(),
        })
    }
}

fn options([connect, response]: [Duration; 2], proxies: Proxies) -> Options {
    Options {
        timeouts: Timeouts {
            connect,
            response,
            ..Timeouts::default()
        },
        proxies,
        ..Options::default()
    }
}
