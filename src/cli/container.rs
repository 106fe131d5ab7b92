//! What container files need: a health check, and a stand-in for Moogsoft.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Outcome, chain, configuration, say};
use crate::demo;
use crate::http::Limits;
use crate::shutdown::Signals;

pub(super) async fn healthcheck(url: Option<url::Url>) -> anyhow::Result<Outcome> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = match url {
        Some(url) => url,
        None => {
            // Docker knows no other code for this than that of a daemon that is not well.
            let Ok(config) = configuration() else {
                return Ok(Outcome::Failed);
            };
            anyhow::ensure!(
                config.health_port != 0,
                "HEALTH_PORT_REMEDIATION is 0, so the port is not known: give --url"
            );
            format!("http://127.0.0.1:{}/health", config.health_port).parse()?
        }
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .no_proxy()
        .build()?;
    match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(Outcome::Done),
        Ok(answer) => {
            say(
                &mut std::io::stderr(),
                &format!("answered {}\n", answer.status()),
            );
            Ok(Outcome::Failed)
        }
        Err(error) => {
            say(
                &mut std::io::stderr(),
                &format!("{}\n", chain(&error.without_url())),
            );
            Ok(Outcome::Failed)
        }
    }
}

pub(super) async fn stand_in_moogsoft(port: u16) -> anyhow::Result<Outcome> {
    let shutdown = CancellationToken::new();
    let signals = Signals::catch()?;
    let listener = crate::http::bind(port, "--port")?;
    let moogsoft = demo::moogsoft::Moogsoft::healthy();
    tokio::select! {
        () = crate::http::serve(listener, moogsoft.routes(), Limits::default(), shutdown.clone()) => {}
        () = signals.watch(shutdown) => {}
    }
    Ok(Outcome::Done)
}
