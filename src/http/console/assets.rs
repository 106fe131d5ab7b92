//! The files that pages are made of, in the binary. Their names carry a digest, so that a browser
//! may keep them for ever and still never shows a page with the files of another version.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::audit::digest;

/// One file.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/console.css"),
    },
    Asset {
        name: "console.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/console.js"),
    },
    Asset {
        name: "uplot.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/uplot.js"),
    },
    Asset {
        name: "uplot.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/uplot.css"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        bytes: include_bytes!("assets/icon.svg"),
    },
];

/// The names with their digests, in the order of the files.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let each = ASSETS.iter().map(|asset| {
        let digest = digest(asset.bytes);
        format!("{}-{}", &digest[..12], asset.name)
    });
    each.collect()
});

/// The address of a file.
pub(super) fn address(name: &str) -> String {
    let at = ASSETS.iter().position(|asset| asset.name == name);
    let full = at.map_or(name, |at| NAMES[at].as_str());
    format!("/console/assets/{full}")
}

/// A file.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some(at) = NAMES.iter().position(|known| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = &ASSETS[at];
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    (headers, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_asks_for_anything_elsewhere() {
        for asset in &ASSETS {
            let text = str::from_utf8(asset.bytes).expect("text");
            // A namespace and the chart library's own address are names and not requests.
            let text = text
                .replace("http://www.w3.org/2000/svg", "")
                .replace("https://github.com/leeoniya/uPlot", "");
            for word in [
                "http://",
                "https://",
                "@import",
                "url(",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(word), "{}: {word}", asset.name);
            }
        }
    }
}
