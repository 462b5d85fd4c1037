//! Where a region's services are: <https://docs.aws.amazon.com/general/latest/gr/rande.html>.
//!
//! For the services of our own client; the SDK's knows where EBS is.

use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

/// A service, by its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceName {
    /// As in `AWS_ENDPOINT_URL_…` and the profile's `services` (there with a space for `_`).
    pub id: &'static str,
    /// As in its host, and in signatures.
    pub host: &'static str,
}

/// Regions whose services have other domains, by how their names begin; then the domain, and the
/// one with IPv6.
const PARTITIONS: &[(&str, &str, &str)] = &[
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
];

/// `https://HOST` of a service: the environment's or the profile's, else Amazon's.
pub(super) fn origin(config: &SdkConfig, service: ServiceName, region: &str) -> String {
    match configured(config, service) {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => amazons(
            service.host,
            region,
            config.use_fips().unwrap_or_default(),
            config.use_dual_stack().unwrap_or_default(),
        ),
    }
}

/// `AWS_ENDPOINT_URL_…`, the profile's for the service, `AWS_ENDPOINT_URL`, the profile's for all.
fn configured(config: &SdkConfig, service: ServiceName) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service.id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let own = config.service_config().and_then(|all| all.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn amazons(host: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let (suffix, dual) = PARTITIONS
        .iter()
        .find(|(prefix, ..)| region.starts_with(prefix))
        .map_or(("amazonaws.com", "api.aws"), |(_, suffix, dual)| {
            (*suffix, *dual)
        });
    let suffix = if dual_stack { dual } else { suffix };
    // In GovCloud every endpoint of these services is a FIPS one, and has the plain name.
    let is_plain = region.starts_with("us-gov-") && !dual_stack;
    let fips = if fips && !is_plain { "-fips" } else { "" };
    format!("https://{host}{fips}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_own() {
        for (region, fips, dual, url) in [
            (
                "eu-central-1",
                false,
                false,
                "https://ec2.eu-central-1.amazonaws.com",
            ),
            (
                "us-east-1",
                true,
                false,
                "https://ec2-fips.us-east-1.amazonaws.com",
            ),
            ("us-east-1", false, true, "https://ec2.us-east-1.api.aws"),
            (
                "us-east-1",
                true,
                true,
                "https://ec2-fips.us-east-1.api.aws",
            ),
            (
                "cn-north-1",
                false,
                false,
                "https://ec2.cn-north-1.amazonaws.com.cn",
            ),
            (
                "cn-north-1",
                false,
                true,
                "https://ec2.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "us-gov-west-1",
                true,
                false,
                "https://ec2.us-gov-west-1.amazonaws.com",
            ),
            (
                "us-gov-west-1",
                true,
                true,
                "https://ec2-fips.us-gov-west-1.api.aws",
            ),
            (
                "us-iso-east-1",
                false,
                false,
                "https://ec2.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "us-isob-east-1",
                false,
                false,
                "https://ec2.us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                "eusc-de-east-1",
                false,
                false,
                "https://ec2.eusc-de-east-1.amazonaws.eu",
            ),
        ] {
            assert_eq!(amazons("ec2", region, fips, dual), url);
        }
    }

    #[test]
    fn ones_own() {
        let service = ServiceName {
            id: "EC2",
            host: "ec2",
        };
        let config = SdkConfig::builder()
            .endpoint_url("http://127.0.0.1:4566/")
            .build();
        assert_eq!(
            origin(&config, service, "us-east-1"),
            "http://127.0.0.1:4566"
        );
        let config = SdkConfig::builder().use_fips(true).build();
        assert_eq!(
            origin(&config, service, "us-east-1"),
            "https://ec2-fips.us-east-1.amazonaws.com"
        );
    }
}
