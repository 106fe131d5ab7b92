//! The rules of the sentinels and of waiting for replicas.

use std::time::Duration;

use super::super::sections::SentinelVars;
use super::Reader;
use crate::link::{LinkConfig, Sentinels, Wait};

impl Reader {
    /// Puts the sentinels and the replicas to wait for into the line's configuration.
    pub(in super::super) fn sentinels(&mut self, vars: SentinelVars, redis: &mut LinkConfig) {
        let addresses = self.optional("REDIS_SENTINELS", vars.redis_sentinels);
        let primary = self.optional("REDIS_SENTINEL_MASTER", vars.redis_sentinel_master);
        let username = self.optional("REDIS_SENTINEL_USERNAME", vars.redis_sentinel_username);
        let password = self.optional("REDIS_SENTINEL_PASSWORD", vars.redis_sentinel_password);
        if let Some(addresses) = &addresses {
            let texts: Vec<String> = addresses.0.iter().map(ToString::to_string).collect();
            self.shown.insert("REDIS_SENTINELS", texts.join(","));
        }
        self.check_company(addresses.is_some(), primary.is_some());
        if username.is_some() && password.is_none() {
            self.warn("REDIS_SENTINEL_USERNAME has no effect without REDIS_SENTINEL_PASSWORD");
        }
        if let (Some(addresses), Some(primary)) = (addresses, primary) {
            redis.sentinels = Some(Sentinels {
                addresses: addresses.0,
                primary: primary.0,
                username: username.map(|text| text.0),
                password,
            });
        }

        let replicas = self.take("REDIS_WAIT_REPLICAS", vars.redis_wait_replicas).0;
        let wait = vars.redis_wait_timeout_ms;
        let timeout = Duration::from_millis(self.take("REDIS_WAIT_TIMEOUT_MS", wait).0);
        if replicas > 0 && timeout >= redis.timeout {
            self.problems.push(format!(
                "REDIS_WAIT_TIMEOUT_MS: \"{}\" is not less than REDIS_TIMEOUT, which is {} s",
                timeout.as_millis(),
                redis.timeout.as_secs()
            ));
        }
        redis.wait = (replicas > 0).then_some(Wait { replicas, timeout });
    }

    /// What must, must not or need not stand beside `REDIS_SENTINELS`.
    fn check_company(&mut self, sentinels: bool, primary: bool) {
        let set = |name: &str| self.set.contains_key(name);
        let mut problems: Vec<&str> = Vec::new();
        let mut warnings = Vec::new();
        if set("REDIS_SENTINELS") {
            if set("REDIS_URL") {
                problems.push("REDIS_URL and REDIS_SENTINELS are both set: expected one of them, because the sentinels name the server (REDIS_DB, REDIS_USERNAME, REDIS_PASSWORD and REDIS_TLS_ENABLED go with them)");
            }
            if sentinels && !set("REDIS_SENTINEL_MASTER") {
                problems.push("REDIS_SENTINEL_MASTER is not set: expected the name of the primary that REDIS_SENTINELS watch");
            }
            let ignored = ["REDIS_HOST", "REDIS_PORT"].into_iter();
            for name in ignored.filter(|name| set(name)) {
                warnings.push(format!("{name} has no effect: REDIS_SENTINELS wins"));
            }
        } else {
            if primary {
                problems.push("REDIS_SENTINELS is not set: expected the sentinels that watch REDIS_SENTINEL_MASTER");
            }
            let ignored = ["REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD"].into_iter();
            for name in ignored.filter(|name| set(name)) {
                warnings.push(format!("{name} has no effect without REDIS_SENTINELS"));
            }
        }
        self.problems.extend(problems.into_iter().map(Into::into));
        self.warnings.extend(warnings);
    }
}
