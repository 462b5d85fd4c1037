//! Certificates, downgrades and proxies.

use i2kit::oci::Environment;
use i2kit::oci::registry::Reason;

use super::*;
use crate::support::authority::Authority;
use crate::support::proxy::Proxy;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule, basic};

const FOREVER: i32 = 2100;

/// An image behind TLS, and files to trust it by.
struct Shop {
    folder: tempfile::TempDir,
    authority: Authority,
    file: PathBuf,
    registry: Registry,
}

impl Shop {
    fn new(names: &[&str], until: i32, clients: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let server = Authority::server(&authority.issue(names, until), clients);
        let registry = Registry::with(Some(server), Arc::default());
        registry.load(&image(folder.path(), &[20_000]), NAME);
        Self {
            file: authority.write(folder.path()),
            folder,
            authority,
            registry,
        }
    }

    fn local() -> Self {
        Self::new(&["127.0.0.1"], FOREVER, None)
    }

    fn trusting(&self) -> Tls {
        Tls {
            authorities: vec![self.file.clone()],
            ..Tls::default()
        }
    }

    fn places(&self, tls: Tls) -> Repository {
        of([Endpoint {
            scheme: Scheme::Https,
            tls,
            ..endpoint(&self.registry)
        }])
    }

    fn pull(&self, desk: &Desk, tls: Tls) -> Result<(), Error> {
        let source = desk.source(self.places(tls));
        let image = source.image(&Platform::default())?;
        let layer = &image.layers[0];
        let size = usize::try_from(layer.size).unwrap();
        desk.read(
            &self.places(self.trusting()),
            &layer.digest.to_string(),
            size,
        )?;
        Ok(())
    }
}

fn tls_error(error: &Error) -> &rustls::Error {
    match error {
        Error::Registry(error) => match error.reason() {
            Reason::Tls(error) => error,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn an_authority_of_ones_own() {
    let shop = Shop::local();
    shop.pull(&Desk::new(), shop.trusting()).unwrap();
    let desk = Desk::new();
    let error = shop.pull(&desk, Tls::default()).unwrap_err();
    assert!(matches!(
        tls_error(&error),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)
    ));
    assert!(hint(&error).contains("authority"), "{}", hint(&error));
    assert!(desk.clock.slept().is_empty(), "it will not get better");
    // The user may say that any certificate will do.
    let careless = Tls {
        skip_verify: true,
        ..Tls::default()
    };
    shop.pull(&Desk::new(), careless).unwrap();
}

#[test]
fn another_name_and_another_time() {
    let shop = Shop::new(&["registry.test"], FOREVER, None);
    let error = shop.pull(&Desk::new(), shop.trusting()).unwrap_err();
    assert!(hint(&error).contains("another name"), "{error}");
    let shop = Shop::new(&["127.0.0.1"], 2002, None);
    let error = shop.pull(&Desk::new(), shop.trusting()).unwrap_err();
    assert!(hint(&error).contains("check the clock"), "{error}");
}

#[test]
fn a_client_certificate() {
    let clients = Authority::new();
    let shop = Shop::new(&["127.0.0.1"], FOREVER, Some(&clients));
    let issued = clients.issue(&["me"], FOREVER);
    let as_me = |client| Tls {
        client: Some(client),
        ..shop.trusting()
    };
    let mine = issued.write(shop.folder.path(), "me");
    let source = Desk::new().source(shop.places(as_me(mine.clone())));
    source.image(&Platform::default()).unwrap();
    let error = shop.pull(&Desk::new(), shop.trusting()).unwrap_err();
    assert!(hint(&error).contains("client certificate"), "{error}");
    // Files that are none are told by name, and nothing panics.
    let other = clients
        .issue(&["me"], FOREVER)
        .write(shop.folder.path(), "other");
    let missing = shop.folder.path().join("missing");
    for (certificate, key, named) in [
        (&mine.0, &other.1, &other.1),
        (&mine.0, &mine.0, &mine.0),
        (&mine.1, &mine.1, &mine.1),
        (&missing, &mine.1, &missing),
        (&mine.0, &missing, &missing),
    ] {
        let tls = as_me((certificate.clone(), key.clone()));
        let error = shop.pull(&Desk::new(), tls).unwrap_err().to_string();
        let expected = format!("certificate {}", named.display());
        assert!(error.contains(&expected), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    let tls = Tls {
        authorities: vec![mine.1],
        ..Tls::default()
    };
    let error = shop.pull(&Desk::new(), tls).unwrap_err().to_string();
    assert!(error.contains("me.key: no certificate in it"), "{error}");
}

#[test]
fn a_client_certificate_is_for_its_host_alone() {
    let clients = Authority::new();
    let shop = Shop::local();
    let mine = clients
        .issue(&["me"], FOREVER)
        .write(shop.folder.path(), "me");
    // It would be let in with the certificate.
    let issued = shop.authority.issue(&["127.0.0.1"], FOREVER);
    let store = Registry::with(
        Some(Authority::server(&issued, Some(&clients))),
        Arc::default(),
    );
    let digest = store.put_blob(noise(1, 100));
    let answer = Response::new(307).with("Location", store.url(&format!("/elsewhere/{digest}")));
    shop.registry
        .script([Rule::new("/blobs/", Fault::Answer(answer))]);
    let tls = Tls {
        client: Some(mine),
        ..shop.trusting()
    };
    let error = Desk::new().fails(&shop.places(tls), &digest, 100);
    tls_error(&error);
    assert!(store.seen().is_empty());
}

#[test]
fn a_server_without_tls() {
    let shop = Shop::local();
    let plain = Registry::start();
    let places = of([Endpoint {
        scheme: Scheme::Https,
        ..endpoint(&plain)
    }]);
    let error = Desk::new()
        .client
        .manifest(&places, &tag("latest"))
        .unwrap_err();
    assert!(
        error.hint().unwrap().contains("does not speak TLS"),
        "{error}"
    );
    // And TLS where none is expected.
    let places = of([endpoint(&shop.registry)]);
    Desk::new()
        .client
        .manifest(&places, &tag("latest"))
        .unwrap_err();
}

#[test]
fn out_of_tls_goes_nothing_but_what_a_digest_checks() {
    let shop = Shop::local();
    let plain = Registry::start();
    shop.registry.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    let bytes = noise(2, 1000);
    let digest = plain.put_blob(bytes.clone());
    let to = |path: &str| {
        let answer = Response::new(307).with("Location", plain.url(path));
        Fault::Answer(answer)
    };
    shop.registry.script([
        Rule::new("/blobs/", to(&format!("/elsewhere/{digest}"))),
        Rule::new("/manifests/", to("/v2/team/app/manifests/latest")),
    ]);
    let desk = Desk::with(options(), password("me", "secret"));
    let places = shop.places(shop.trusting());
    assert!(desk.read(&places, &digest, 1000).unwrap() == bytes);
    let heard = plain.seen();
    assert!(
        heard
            .iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{heard:?}"
    );
    plain.forget();
    let error = desk.client.manifest(&places, &tag("latest")).unwrap_err();
    assert!(
        error.to_string().contains("which is not encrypted"),
        "{error}"
    );
    assert!(plain.seen().is_empty());
    // Nor is a password given to a token server without TLS.
    shop.registry.set_auth(Auth::Bearer {
        realm: Some(plain.url("/token")),
    });
    let desk = Desk::with(options(), password("me", "secret"));
    let error = desk.client.manifest(&places, &tag("latest")).unwrap_err();
    assert!(
        error.to_string().contains("token server: not encrypted"),
        "{error}"
    );
    assert!(plain.seen().is_empty());
}

#[test]
fn faults_under_tls() {
    let shop = Shop::local();
    let bytes = noise(3, 100_000);
    let digest = shop.registry.put_blob(bytes.clone());
    // A connection cut without a farewell is no end of the body.
    for fault in [Fault::Cut(50_000), Fault::Stall(70_000), Fault::Drop] {
        shop.registry.script([Rule::new("/blobs/", fault).times(1)]);
        let found = Desk::new().read(&shop.places(shop.trusting()), &digest, bytes.len());
        assert!(found.unwrap() == bytes);
    }
}

#[test]
fn through_a_proxy() {
    let shop = Shop::new(&["registry.test"], FOREVER, None);
    let login = basic("me", "proxy-secret");
    let proxy = Proxy::start(&shop.registry.host(), Some(login));
    let desk = |variables: &[(&str, String)]| {
        let variables = variables
            .iter()
            .map(|(key, value)| (key.into(), value.into()));
        let options = Options {
            proxies: Proxies::of_environment(&Environment::new(variables, 0, "/")),
            ..options()
        };
        Desk::with(options, Anonymous)
    };
    let places = of([Endpoint {
        scheme: Scheme::Https,
        host: "registry.test".to_owned(),
        tls: shop.trusting(),
        ..endpoint(&shop.registry)
    }]);
    let good = format!("http://me:proxy-secret@{}", proxy.host());
    let get = |desk: &Desk| desk.client.manifest(&places, &tag("latest"));
    get(&desk(&[("HTTPS_PROXY", good.clone())])).unwrap();
    assert_eq!(proxy.asked(), ["registry.test:443"]);
    let wrong = format!("http://me:wrong-secret@{}", proxy.host());
    let error = get(&desk(&[("HTTPS_PROXY", wrong)])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("proxy: proxy server responded 407"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("HTTPS_PROXY"));
    assert!(!format!("{error:?}").contains("wrong-secret"));
    // Past it, the name leads nowhere.
    let direct = [
        ("HTTPS_PROXY", good.clone()),
        ("NO_PROXY", "registry.test".to_owned()),
    ];
    let error = get(&desk(&direct)).unwrap_err();
    assert!(matches!(error.reason(), Reason::Resolve(_)), "{error}");
    assert!(error.hint().unwrap().contains("spelling"));
    for (bad, expected) in [
        ("socks5://127.0.0.1:1", "only http and https proxies"),
        (
            "http://me:secret pass@x",
            "its URL in the environment is none",
        ),
    ] {
        let error = get(&desk(&[("HTTPS_PROXY", bad.to_owned())])).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // The machine itself is never reached through one.
    let desk = desk(&[("ALL_PROXY", good)]);
    let plain = Registry::start();
    desk.client
        .manifest(&repository(&plain), &tag("latest"))
        .unwrap_err();
    assert_eq!(plain.seen().len(), 1);
    assert_eq!(proxy.asked().len(), 2);
}
