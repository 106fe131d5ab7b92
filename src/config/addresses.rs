//! Lists of servers.

use super::value::Value;
use crate::link::Address;

/// Servers, separated by commas, as `host:port`; without a port they listen on `PORT`. The text is
/// not shown when it is refused, because it may be an address with a password.
#[derive(Clone, Debug)]
pub(super) struct Addresses<const PORT: u16>(pub(super) Vec<Address>);

impl<const PORT: u16> Value for Addresses<PORT> {
    const SECRET: bool = true;

    fn expected() -> String {
        format!(
            "a list of host:port separated by commas (port {PORT} if left out, IPv6 in brackets)"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut found = Vec::new();
        for part in text.split(',').map(str::trim) {
            let address = address(part, PORT)?;
            if !found.contains(&address) {
                found.push(address);
            }
        }
        Some(Self(found))
    }
}

fn address(text: &str, default_port: u16) -> Option<Address> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let host = &text[..end];
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.bytes().all(named)).then_some(())?;
            (host, &text[end..])
        }
    };
    let port = match rest {
        "" => default_port,
        rest => rest.strip_prefix(':')?.parse().ok().filter(|p| *p != 0)?,
    };
    Some(Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<String>> {
        let list = Addresses::<26_379>::parse(text)?;
        Some(list.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn hosts_addresses_and_ports_are_read() {
        let list = read("sentinel-0:1, sentinel_1.mutt.svc ,10.0.0.1:65535,[::1]:7,[fe80::1]");
        let expected = [
            "sentinel-0:1",
            "sentinel_1.mutt.svc:26379",
            "10.0.0.1:65535",
            "[::1]:7",
            "[fe80::1]:26379",
        ];
        assert_eq!(list.expect("valid"), expected);
        assert_eq!(read("a:1,a:1,a").expect("valid"), ["a:1", "a:26379"]);
    }

    #[test]
    fn what_is_no_list_of_servers_is_refused() {
        for text in [
            "",
            ",",
            "a,",
            "a:0",
            "a:65536",
            "a:x",
            "a:",
            ":1",
            "::1",
            "[::1",
            "[::1]7",
            "[a]:1",
            "a b",
            "redis://a:1",
            "user:hush@a:1",
            "a/0",
            "a\u{7}",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
