//! The operator's console in a real browser, before a live daemon and a real Redis.

use reqwest::{RequestBuilder, Response};

use crate::support::{Browser, Daemon, Redis};

mod attack;
mod door;
mod edit;
mod look;
mod slo;
mod trouble;
mod ways;
mod work;

const KEY: &str = "the-operators-own-key";
const READ_KEY: &str = "the-readers-own-key";
/// A daemon that drains nothing, so that what lies in a list lies still.
const KEYED: [(&str, &str); 3] = [
    ("REMEDIATION_ENABLED", "false"),
    ("REMEDIATION_API_KEY", KEY),
    ("REMEDIATION_API_READ_KEY", READ_KEY),
];
const QUEUE: &str = "/console/queues/alerter";

/// A daemon with its Redis, and where its console is.
struct Scene {
    redis: Redis,
    daemon: Daemon,
    base: String,
}

impl Scene {
    /// With these letters, the oldest first.
    async fn with<B: AsRef<[u8]>>(letters: &[B]) -> Self {
        Self::of(Redis::start(), letters, &KEYED).await
    }

    async fn of<B: AsRef<[u8]>>(redis: Redis, letters: &[B], variables: &[(&str, &str)]) -> Self {
        if !letters.is_empty() {
            redis.dead_letter(letters).await;
        }
        let daemon = Daemon::start(&redis, variables);
        let base = format!("http://127.0.0.1:{}", daemon.port("api").await);
        Self {
            redis,
            daemon,
            base,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A browser in which somebody has signed in with this key, and sees this page.
    async fn browser(&self, key: &str, path: &str) -> Browser {
        let browser = Browser::start().await;
        self.sign_in(&browser, key, path).await;
        browser
    }

    async fn sign_in(&self, browser: &Browser, key: &str, path: &str) {
        browser.open(&self.at(path)).await;
        browser.fill("#key", key).await;
        browser.fill("#user", "ann").await;
        browser.press("Sign in").await;
        browser.until("document.querySelector('header.top')").await;
        assert_eq!(browser.url().await, self.at(path));
    }

    /// Somebody who has signed in with this key without a browser.
    async fn guest(&self, key: &str) -> Guest {
        let mut guest = Guest {
            base: self.base.clone(),
            cookie: String::new(),
            token: String::new(),
            client: client(),
        };
        let answer = guest.send("/console/sign-in", &[("key", key)]).await;
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().expect("a text");
        let (cookie, attributes) = cookie.split_once(';').expect("attributes");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/console"] {
            assert!(attributes.contains(attribute), "{attributes}");
        }
        guest.cookie = cookie.to_owned();
        let (_, page) = guest.get("/console/settings").await;
        let token = page.split("name=\"token\" value=\"").nth(1);
        let token = token.and_then(|rest| rest.split('"').next());
        token.unwrap_or_default().clone_into(&mut guest.token);
        guest
    }
}

/// A session without a browser, which sends what no page of ours would.
struct Guest {
    base: String,
    cookie: String,
    /// What a form of this session carries; nothing for a reader, who has no forms.
    token: String,
    client: reqwest::Client,
}

impl Guest {
    fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask("GET", path).send().await.expect("it answers");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a page"))
    }

    /// A form as it is, without a token unless it has one.
    async fn send(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = self.ask("POST", path).body(encoded(form));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.expect("it answers")
    }
}

/// One that goes nowhere by itself.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30));
    let client = client
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    client.build().expect("a client")
}

fn encoded(form: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(form).finish()
}

fn letter(number: usize) -> String {
    format!(
        r#"{{"hostname":"sw{}","timestamp":1700000000,"message":"m{number}","_retry_count":1}}"#,
        number % 3
    )
}

fn letters(count: usize) -> Vec<String> {
    (0..count).map(letter).collect()
}
