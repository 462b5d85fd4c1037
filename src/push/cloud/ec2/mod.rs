//! EC2 and Auto Scaling, as far as a push and a clean-up ask them.
//!
//! The client is our own, on `aws-sigv4` and `roxmltree`. `aws-sdk-ec2` has some 700 operations:
//! it takes about 1,100 CPU seconds and 7.8 GB of memory to compile in release (336 seconds at
//! `opt-level = 0`, by an override in the profile), where all else of i2kit takes a few minutes on
//! two cores. Two dozen calls with flat forms and small answers do not weigh that.
//!
//! Each method is one attempt, for [`Retry`] to repeat. A list of several pages asks again for
//! those after the first by itself, so that a long one is not begun anew.

mod images;
mod in_use;
mod model;
mod snapshots;
#[cfg(test)]
mod tests;

pub use model::{Ami, CopyImage, RegisterImage, Snapshot, is_key};

use std::sync::Arc;

use aws_types::SdkConfig;

use super::call::Call;
use super::endpoint::{ServiceName, origin};
use super::query::Form;
use super::send::{Service, Wire};
use super::xml::Element;
use super::{CallError, Retry};

/// Of the API of EC2.
const VERSION: &str = "2016-11-15";

const EC2: ServiceName = ServiceName {
    id: "EC2",
    host: "ec2",
};

const AUTO_SCALING: ServiceName = ServiceName {
    id: "Auto Scaling",
    host: "autoscaling",
};

/// Items of a page, the most that any of the calls allows.
const PAGE: &str = "1000";

/// A region's EC2 and Auto Scaling.
#[derive(Clone, Debug)]
pub struct Ec2 {
    config: Arc<SdkConfig>,
    ec2: Service,
    auto_scaling: Service,
}

impl Ec2 {
    pub(super) fn new(config: &Arc<SdkConfig>, wire: &Wire, region: &str) -> Self {
        Self {
            config: Arc::clone(config),
            ec2: service(config, wire, EC2, region),
            auto_scaling: service(config, wire, AUTO_SCALING, region),
        }
    }

    /// The same service in another region.
    fn elsewhere(&self, region: &str) -> Service {
        service(&self.config, &self.ec2.wire, EC2, region)
    }

    /// A call whose answer says no more than that it was done.
    async fn done(&self, call: &Call, form: &Form) -> Result<(), CallError> {
        self.ec2.query(call, form).await?.confirmed()
    }
}

fn service(config: &SdkConfig, wire: &Wire, name: ServiceName, region: &str) -> Service {
    Service {
        wire: wire.clone(),
        origin: origin(config, name, region),
        region: region.to_owned(),
        name: name.host,
    }
}

fn form(action: &str) -> Form {
    Form::new(action, VERSION)
}

/// All pages of a list. `read` adds a page's items and answers with the token of the next.
async fn pages<T>(
    service: &Service,
    call: &Call,
    form: &Form,
    read: impl Fn(Element<'_, '_>, &mut Vec<T>) -> Option<String>,
) -> Result<Vec<T>, CallError> {
    let mut all = Vec::new();
    let mut page = service.query(call, form).await?;
    let mut last = None;
    loop {
        let next = page.read(|root| read(root, &mut all))?;
        let Some(next) = next else {
            return Ok(all);
        };
        if last.as_ref() == Some(&next) {
            return Err(call.senseless("the page after a page is that page"));
        }
        let form = form.clone().set("NextToken", &next);
        let ask = async || service.query(call, &form).await;
        page = Retry::default().run(ask, |_| ()).await?;
        last = Some(next);
    }
}
