//! The operator's API: where it listens, and who may ask.

use secrecy::{ExposeSecret, SecretString};

use super::Reader;
use crate::config::sections::ApiVars;
use crate::config::value::Bind;
use crate::http::api::ApiConfig;

const PORT: &str = "API_PORT_REMEDIATION";
const BIND: &str = "API_BIND_REMEDIATION";
const KEY: &str = "REMEDIATION_API_KEY";
const READ_KEY: &str = "REMEDIATION_API_READ_KEY";
const DEFAULT_PORT: u16 = 8400;
/// Where the command line finds its key; it opens files, and this here does not.
pub(super) const KEY_FILE: &str = "REMEDIATION_API_KEY_FILE";

impl Reader {
    /// The operator's API, if there is to be one. `others` are the ports of the other listeners.
    pub(in crate::config) fn api(
        &mut self,
        vars: ApiVars,
        others: [(&str, u16); 2],
    ) -> Option<ApiConfig> {
        let port = self.take(PORT, vars.api_port_remediation).0;
        let bind = self.optional(BIND, vars.api_bind_remediation);
        let key = self.optional(KEY, vars.remediation_api_key);
        let read_key = self.optional(READ_KEY, vars.remediation_api_read_key);
        let (key, read_key) = (key.map(|key| key.0), read_key.map(|key| key.0));
        let named = [BIND, KEY, READ_KEY]
            .iter()
            .any(|name| self.set.contains_key(*name));
        let wanted = named || port != DEFAULT_PORT;

        if let Some((name, _)) = others
            .iter()
            .find(|(_, other)| *other == port && port != 0 && bind != Some(Bind::None))
        {
            let both = format!("{PORT} and {name} are both {port}");
            if wanted {
                self.problems
                    .push(format!("{both}: expected different ports"));
            } else {
                self.warn(&format!("{both}: the operator's API is not served"));
                return None;
            }
        }
        let text = |key: &Option<SecretString>| {
            let key = key.as_ref();
            key.map(|key| key.expose_secret().to_owned())
        };
        if key.is_some() && text(&key) == text(&read_key) {
            self.problems.push(format!(
                "{KEY} and {READ_KEY} are the same: expected two different keys"
            ));
        }
        let keyless = !self.set.contains_key(KEY) && !self.set.contains_key(READ_KEY);
        let address = match bind {
            Some(Bind::None) => {
                if !keyless {
                    self.warn("REMEDIATION_API_KEY and REMEDIATION_API_READ_KEY have no effect with API_BIND_REMEDIATION=none");
                }
                return None;
            }
            Some(Bind::Address(address)) => {
                if keyless && !address.to_canonical().is_loopback() {
                    self.problems.push(format!(
                        "{BIND}: {address} needs {KEY}: without a key the API may only listen to 127.0.0.1 or ::1"
                    ));
                }
                Some(address)
            }
            None if keyless => Some(std::net::Ipv4Addr::LOCALHOST.into()),
            None => None,
        };
        if key.is_none() && self.set.contains_key(KEY_FILE) {
            self.warn("REMEDIATION_API_KEY_FILE is read by the command line alone: the daemon takes its key from REMEDIATION_API_KEY");
        }
        if key.is_none() && read_key.is_some() {
            self.warn("REMEDIATION_API_KEY is not set: with REMEDIATION_API_READ_KEY alone the API only reads");
        }
        Some(ApiConfig {
            port,
            address,
            key,
            read_key,
            wanted,
        })
    }
}
