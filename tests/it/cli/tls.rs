//! The same over TLS, with an authority of one's own.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connection::Certificates;
use crate::support::Daemon;

/// What an operator puts in front of the API.
struct Front {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Front {
    async fn before(port: u16, (certificate, key): &(String, String)) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).expect("readable");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let Ok(mut outside) = acceptor.accept(outside).await else {
                    continue;
                };
                let inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                let mut inside = inside.expect("the daemon listens");
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
        Self {
            port: own,
            _tasks: tasks,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_behind_tls_is_trusted_by_its_authority_alone() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3)).await;
    let key = "a-key-of-more-than-sixteen";
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_ENABLED", "false"),
            ("REMEDIATION_API_KEY", key),
        ],
    );
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let authority = certificates.authority(dir.path());
    let pair = certificates.write(dir.path(), "front");
    let front = Front::before(daemon.port("api").await, &pair).await;
    let mut cli = Cli::at(&daemon, key).await;
    cli.url = Some(format!("https://localhost:{}", front.port));

    let said = cli.run(&["ls"]);
    assert_eq!(said.code, 1, "nobody vouches for it: {said:?}");
    assert!(said.err.contains("certificate"), "{said:?}");
    cli.variables.push(("SSL_CERT_FILE".to_owned(), authority));
    assert_eq!(cli.json(&["status"])["queues"][0]["depth"], 3);
    assert_eq!(cli.json(&["replay", "alerter", "--all", "-y"])["moved"], 3);
    assert_eq!(redis.len(TARGET).await, 3);
}

#[tokio::test]
async fn redis_behind_tls_is_spoken_to_as_the_daemon_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let authority = certificates.authority(dir.path());
    let (certificate, key) = certificates.write(dir.path(), "server");
    let (own_certificate, own_key) = certificates.write(dir.path(), "client");
    let port = mutt_remediation::demo::server::free_port().expect("a port");
    let redis = Redis::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "yes",
    ]);
    redis.dead_letter(&letters(3)).await;
    let url = format!("rediss://127.0.0.1:{port}");
    let mut cli = Cli {
        variables: vec![("REDIS_URL".to_owned(), url)],
        url: None,
    };
    assert_eq!(cli.run(&["ls"]).code, 1, "nobody vouches for it");
    for (name, value) in [
        ("REDIS_CA_CERT_PATH", authority),
        ("REDIS_TLS_CLIENT_CERT", own_certificate),
        ("REDIS_TLS_CLIENT_KEY", own_key),
    ] {
        cli.variables.push((name.to_owned(), value));
    }
    assert_eq!(cli.json(&["replay", "alerter", "--all", "-y"])["moved"], 3);
    assert_eq!(redis.len(TARGET).await, 3);
}
