//! A real mail server, with TLS from the first byte on, later, and not at all.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::connection::Certificates;
use crate::support::MailServer;
use crate::support::daemon::output;

const WHO: &str = "from=mutt@example.org&to=ops@example.org&to=night+shift@example.org";

/// What `notify test` says, and its exit code.
fn tested(url: &str, more: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut variables = QUICK.to_vec();
    variables.push(("NOTIFY_URLS", url));
    variables.extend(more);
    let said = output(&["notify", "test"], &variables);
    let text = String::from_utf8([said.stdout, said.stderr].concat()).expect("text");
    assert!(!text.contains("hush"), "{text}");
    (said.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_with_both_kinds_of_tls_and_a_password() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let authority = certificates.authority(dir.path());
    let (cert, key) = certificates.write(dir.path(), "mail");
    for (mode, scheme, more) in [("tls", "smtps", ""), ("starttls", "smtp", "&tls=starttls")] {
        let arguments = [
            "--mode",
            mode,
            "--cert",
            &cert,
            "--key",
            &key,
            "--password",
            "hush@:/",
        ];
        let server = MailServer::start(&arguments).await;
        let port = server.port();
        let url =
            |password: &str| format!("{scheme}://alice:{password}@localhost:{port}/?{WHO}{more}");
        let (code, text) = tested(&url("hush%40%3A%2F"), &[]);
        assert_eq!(code, Some(1), "nobody vouches for it: {text}");
        assert!(text.to_lowercase().contains("certificate"), "{text}");
        let trusted = [("SSL_CERT_FILE", authority.as_str())];
        let (code, text) = tested(&url("hush"), &trusted);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("answered 535"), "{text}");
        assert!(server.mails().is_empty());
        let (code, text) = tested(&url("hush%40%3A%2F"), &trusted);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains(&format!("ok      {scheme}://localhost:{port}/...")),
            "{text}"
        );
        let mails = server.mails();
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(
            (&mail["tls"], &mail["user"]),
            (&true.into(), &"alice".into())
        );
        assert_eq!(mail["from"], "mutt@example.org");
        let to: Value = ["ops@example.org", "night+shift@example.org"].into();
        assert_eq!(mail["to"], to);
        let data = mail["data"].as_str().expect("text");
        assert!(data.contains("[test]") && data.contains("Auto-Submitted: auto-generated"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_server_that_does_not_offer_tls() {
    let server = MailServer::start(&["--mode", "plain", "--password", "hush"]).await;
    let port = server.port();
    let url = format!("smtp://alice:hush@localhost:{port}/?{WHO}&tls=starttls");
    let (code, text) = tested(&url, &[]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("STARTTLS is not supported on this server"),
        "{text}"
    );
    // On this machine it may be in the clear.
    let (code, text) = tested(&url.replace("&tls=starttls", ""), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(server.mails().len(), 1);
    assert_eq!(server.mails()[0]["tls"], false);
}

/// Somebody on the way to a mail server, who adds answers of his own behind the one to STARTTLS.
fn meddler(server: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a line");
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).expect("a line");
            let mut there = server.try_clone().expect("a copy");
            let mut said = client.try_clone().expect("a copy");
            std::thread::spawn(move || std::io::copy(&mut said, &mut there));
            let mut greeted = false;
            let mut bytes = [0; 16 * 1024];
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                let mut answer = bytes[..count].to_vec();
                if greeted && answer.starts_with(b"220") {
                    let ok = b"250 ok\r\n";
                    answer.extend(ok.repeat(4));
                    answer.extend(b"354 go\r\n");
                    answer.extend(ok.repeat(2));
                }
                greeted = true;
                if client.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_came_before_tls_are_not_taken_for_those_of_the_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let authority = certificates.authority(dir.path());
    let (cert, key) = certificates.write(dir.path(), "mail");
    let server = MailServer::start(&["--mode", "starttls", "--cert", &cert, "--key", &key]).await;
    let trusted = [("SSL_CERT_FILE", authority.as_str())];
    let url = |port| format!("smtp://localhost:{port}/?{WHO}&tls=starttls");
    let (code, text) = tested(&url(meddler(server.port())), &trusted);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("corrupt message"), "{text}");
    assert!(server.mails().is_empty());
    let (code, text) = tested(&url(server.port()), &trusted);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn the_daemon_writes_mails_and_tries_again_where_that_may_help() {
    let mut redis = Redis::start();
    let server = MailServer::start(&["--mode", "plain"]).await;
    let busy = MailServer::start(&["--mode", "plain", "--refuse", "451"]).await;
    let never = MailServer::start(&["--mode", "plain", "--refuse", "554"]).await;
    let urls = [&server, &busy, &never].map(|s| format!("smtp://127.0.0.1:{}/?{WHO}", s.port()));
    let daemon = daemon(&redis, &urls.join(" "), &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    until("a mail comes", || async { !server.mails().is_empty() }).await;
    let mail = server.mails().remove(0);
    let data = mail["data"].as_str().expect("text");
    let (head, body) = data.split_once("\r\n\r\n").expect("head and body");
    assert!(
        head.contains("Subject: [mutt-remediation] Redis cannot be reached (unreachable)"),
        "{head}"
    );
    assert!(
        body.contains("https://mutt.example:8400/console/"),
        "{body}"
    );
    assert!(body.contains("CRITICAL  Redis cannot be reached"), "{body}");
    let failed = counted("email", "redis_lost", "failed");
    daemon.until_metric(&failed, |count| count == 1.0).await;
    daemon.until_logged("answered 554").await;
    daemon.until_logged("answered 451").await;
    let waiting = "mutt_remediation_notifications_waiting{receiver=\"email\"}";
    assert_eq!(
        daemon.metric(waiting).await,
        Some(1.0),
        "one is tried again"
    );
}
