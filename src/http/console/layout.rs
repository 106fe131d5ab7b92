//! What all pages share: the head, the way around, and who looks.

use maud::{DOCTYPE, Markup, html};

use super::door::Visitor;
use super::view::{safe, time};
use super::{assets, slo};

/// Light, dark, or as the reader's system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The pages that every page leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Slos,
    Queues,
    Dead,
    Runs,
    Audit,
    Settings,
}

const PLACES: [(Place, &str, &str); 6] = [
    (Place::Overview, "/console/", "Overview"),
    (Place::Slos, slo::ADDRESS, "SLOs"),
    (Place::Dead, "/console/dead", "Dead lists"),
    (Place::Runs, "/console/runs", "Runs"),
    (Place::Audit, "/console/audit", "Audit"),
    (Place::Settings, "/console/settings", "Settings"),
];

/// A page: what is live on it comes from `live`, if anything does.
pub(super) fn page(
    visitor: &Visitor,
    place: Place,
    title: &str,
    live: Option<&str>,
    body: &Markup,
) -> Markup {
    let here = if place == Place::Queues {
        Place::Overview
    } else {
        place
    };
    let inner = html! {
        a .skip href="#main" { "Skip to the content" }
        header .top {
            a .brand href="/console/" { "mutt" span { "-remediation" } }
            nav aria-label="Main" {
                @for (known, address, name) in PLACES {
                    a href=(address) aria-current=[(known == here).then_some("page")] { (name) }
                }
            }
            div .who {
                (themes(visitor.theme))
                span title=(format!("as {} {}", visitor.who.name, visitor.who.from)) {
                    (safe(&visitor.who.name))
                    @if !visitor.acts() { " " span .tag { "looks only" } }
                }
                @if let Some(until) = visitor.until {
                    form method="post" action="/console/sign-out" {
                        button .quiet type="submit" { "Sign out" }
                        span .sr { "The session ends " (time(until)) }
                    }
                }
            }
        }
        div #lost .banner role="status" hidden {
            "The connection to the daemon is lost. What you see is of "
            span #lost-at { "before" } "; it is tried again by itself."
        }
        main #main tabindex="-1" data-live=[live] data-now=(jiff::Timestamp::now().as_millisecond()) {
            @if let Some(flash) = &visitor.flash {
                p .flash role="status" { (safe(flash)) }
            }
            (body)
        }
        footer {
            span { "mutt-remediation " (env!("CARGO_PKG_VERSION")) }
            span .zone hidden {
                "Times are those of your zone. "
                button .quiet type="button" data-utc aria-pressed="false" { "Show them in UTC" }
            }
        }
    };
    whole(title, visitor.theme, &inner)
}

/// A page for who is not signed in.
pub(super) fn bare(title: &str, theme: Theme, body: &Markup) -> Markup {
    whole(title, theme, body)
}

fn whole(title: &str, theme: Theme, inner: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.as_str()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (safe(title)) " · mutt-remediation" }
                link rel="icon" href=(assets::address("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::address("uplot.css"));
                link rel="stylesheet" href=(assets::address("console.css"));
                script src=(assets::address("uplot.js")) defer {}
                script src=(assets::address("console.js")) defer {}
            }
            body { (inner) }
        }
    }
}

/// The script makes these buttons work, and shows them.
fn themes(theme: Theme) -> Markup {
    html! {
        span .themes role="group" aria-label="Colours" hidden {
            @for (one, sign, name) in [
                (Theme::System, "◐", "As the system"),
                (Theme::Light, "☀", "Light"),
                (Theme::Dark, "☾", "Dark"),
            ] {
                button .quiet type="button" data-set-theme=(one.as_str()) title=(name)
                    aria-label=(name) aria-pressed=(if one == theme { "true" } else { "false" }) {
                    (sign)
                }
            }
        }
    }
}
