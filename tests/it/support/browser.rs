//! A real browser, as its reader uses it.
//!
//! Whatever is asked for is tried until it can be done, because a page may still be on its way.

use std::time::Instant;

use serde_json::{Value, json};

use super::driver::{Driver, PATIENCE, pause};

/// The member that says that an object stands for an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

pub struct Browser(Driver);

impl Browser {
    pub async fn start() -> Self {
        Self(Driver::with(json!({}), json!({"browser": "ALL"})).await)
    }

    /// One that runs no script of any page.
    pub async fn without_scripts() -> Self {
        let preferences = json!({"profile.managed_default_content_settings.javascript": 2});
        Self(Driver::with(preferences, json!({"browser": "ALL"})).await)
    }

    /// One that notes what its tab asks for.
    pub async fn noting_requests() -> Self {
        Self(Driver::with(json!({}), json!({"browser": "ALL", "performance": "ALL"})).await)
    }

    async fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.0.ask("POST", path, body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let done = self.try_post(path, body).await;
        done.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    async fn get(&self, path: &str) -> Value {
        let done = self.0.ask("GET", path, &Value::Null).await;
        done.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of the browser's own protocol.
    pub async fn command(&self, name: &str, parameters: &Value) -> Value {
        let body = json!({"cmd": name, "params": parameters});
        self.post("/goog/cdp/execute", &body).await
    }

    // Where it is.

    pub async fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url })).await;
    }

    pub async fn back(&self) {
        self.post("/back", &json!({})).await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", &json!({})).await;
    }

    pub async fn url(&self) -> String {
        self.get("/url").await.as_str().expect("a text").to_owned()
    }

    /// Opens another tab, goes there, and gives the names of the one before and of this one.
    pub async fn new_tab(&self) -> (String, String) {
        let before = self.get("/window").await;
        let new = self.post("/window/new", &json!({"type": "tab"})).await;
        let [before, new] =
            [&before, &new["handle"]].map(|name| name.as_str().expect("a name").to_owned());
        self.go_to_tab(&new).await;
        (before, new)
    }

    pub async fn go_to_tab(&self, name: &str) {
        self.post("/window", &json!({ "handle": name })).await;
    }

    /// Out of sight, as a tab in the background is.
    pub async fn minimise(&self) {
        self.post("/window/minimize", &json!({})).await;
    }

    pub async fn restore(&self) {
        let size = json!({"width": 1280, "height": 900});
        self.post("/window/rect", &size).await;
    }

    // What it shows.

    /// Runs the body of a function in the page.
    pub async fn try_run(&self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        let body = json!({"script": script, "args": arguments});
        self.try_post("/execute/sync", &body).await
    }

    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        let done = self.try_run(script, arguments).await;
        done.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The same of a function whose last argument is called with its result.
    pub async fn run_later(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.post("/execute/async", &body).await
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let began = Instant::now();
        // While a page is on its way there is none to ask.
        while self.try_run(&script, &[]).await != Ok(Value::Bool(true)) {
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain until {expression}\n{}",
                self.whole_page().await
            );
            pause().await;
        }
    }

    /// Waits until an element's text contains this.
    pub async fn until_text(&self, css: &str, text: &str) {
        let [css, text] = [css, text].map(|text| Value::from(text).to_string());
        self.until(&format!(
            "document.querySelector({css})?.innerText.includes({text})"
        ))
        .await;
    }

    /// The text of the first element that matches.
    pub async fn text(&self, css: &str) -> String {
        self.until(&format!("document.querySelector({})", Value::from(css)))
            .await;
        let script = "return document.querySelector(arguments[0]).innerText";
        let text = self.run(script, &[css.into()]).await;
        text.as_str().expect("a text").to_owned()
    }

    /// How many elements match.
    pub async fn count(&self, css: &str) -> usize {
        let script = "return document.querySelectorAll(arguments[0]).length";
        let number = self.run(script, &[css.into()]).await.as_u64();
        usize::try_from(number.expect("a number")).expect("few")
    }

    /// A picture of the whole page.
    pub async fn picture(&self) -> Vec<u8> {
        use base64::Engine as _;
        let how = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.command("Page.captureScreenshot", &how).await;
        let text = picture["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .expect("base64")
    }

    async fn whole_page(&self) -> String {
        let script = "return location.href + '\\n' + document.body.innerText";
        let page = self.try_run(script, &[]).await;
        page.map_or_else(
            |error| error,
            |text| text.as_str().unwrap_or_default().to_owned(),
        )
    }

    // What a reader does.

    /// Clicks on the first element that matches, once it can be clicked on.
    pub async fn click(&self, css: &str) {
        let script = "return document.querySelector(arguments[0])";
        self.click_on(script, css).await;
    }

    /// Clicks on the button, link or the like that has this text, or else begins with it.
    pub async fn press(&self, text: &str) {
        let script = "const all = [...document.querySelectorAll('button, a, summary, label')];\
            const seen = all.filter((one) => one.checkVisibility());\
            return seen.find((one) => one.innerText.trim() === arguments[0])\
                ?? seen.find((one) => one.innerText.trim().startsWith(arguments[0]))";
        self.click_on(script, text).await;
    }

    async fn click_on(&self, script: &str, argument: &str) {
        let began = Instant::now();
        loop {
            let done = self.try_click_on(script, argument).await;
            let Err(error) = done else { return };
            assert!(
                began.elapsed() < PATIENCE,
                "cannot click on {argument}: {error}\n{}",
                self.whole_page().await
            );
            pause().await;
        }
    }

    async fn try_click_on(&self, script: &str, argument: &str) -> Result<Value, String> {
        let id = self.find(script, argument).await?;
        // A reader would scroll it out from under what sticks to the edge.
        let middle = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";
        self.try_run(middle, &[json!({ ELEMENT: id })]).await?;
        self.try_post(&format!("/element/{id}/click"), &json!({}))
            .await
    }

    async fn find(&self, script: &str, argument: &str) -> Result<String, String> {
        let found = self.try_run(script, &[argument.into()]).await?;
        let id = found[ELEMENT].as_str();
        id.map(str::to_owned)
            .ok_or_else(|| "there is no such element".into())
    }

    /// Types into a field, in place of what is in it.
    pub async fn fill(&self, css: &str, text: &str) {
        self.until(&format!("document.querySelector({})", Value::from(css)))
            .await;
        let id = self
            .find("return document.querySelector(arguments[0])", css)
            .await;
        let id = id.expect("it is there");
        self.post(&format!("/element/{id}/clear"), &json!({})).await;
        self.post(&format!("/element/{id}/value"), &json!({ "text": text }))
            .await;
    }

    /// Chooses an option of a list.
    pub async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]")).await;
    }

    /// Presses keys, one after the other, where the focus is.
    pub async fn keys(&self, keys: &str) {
        let keys = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let keys: Vec<Value> = keys.collect();
        let body = json!({"actions": [{"type": "key", "id": "keys", "actions": keys}]});
        self.post("/actions", &body).await;
    }

    // What it has noticed.

    /// What it has complained of since the last time: errors of scripts, and what the page's
    /// policy forbids. That a page answers with an error is no complaint, nor is an advice.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"})).await;
        let lines = log.as_array().expect("lines").iter();
        let lines =
            lines.filter(|line| line["source"] != "network" && line["source"] != "recommendation");
        lines
            .map(|line| format!("{} {}", line["source"], line["message"]))
            .collect()
    }

    /// The addresses that its tab has asked for since the last time.
    pub async fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "performance"})).await;
        let lines = log.as_array().expect("lines").iter();
        let told = lines.filter_map(|line| {
            let told: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let message = &told["message"];
            let is_one = matches!(
                message["method"].as_str()?,
                "Network.requestWillBeSent" | "Network.webSocketCreated"
            );
            let parameters = &message["params"];
            let url = parameters["request"]["url"]
                .as_str()
                .or(parameters["url"].as_str());
            // Its own pages and what is in the address itself are asked of nobody.
            let url = url.filter(|url| !url.starts_with("chrome:") && !url.starts_with("data:"))?;
            is_one.then(|| url.to_owned())
        });
        told.collect()
    }
}
