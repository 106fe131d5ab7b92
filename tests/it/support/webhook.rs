//! A stand-in for Moogsoft that can misbehave in every way that an HTTP server can.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug)]
pub enum Manner {
    Status(u16),
    /// Reads the request and never answers.
    Hang,
    /// A status line, then body without end.
    EndlessBody,
    /// The same, of what went well.
    EndlessAnswer,
    /// A head that comes a byte at a time, and has no end.
    Drip,
    /// Asks to be left alone for a second.
    Busy,
    /// Sends to another place.
    Redirect,
    /// Speaks something else than HTTP.
    Nonsense,
}

pub struct Webhook {
    port: u16,
    manner: Arc<Mutex<Manner>>,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Webhook {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let manner = Arc::new(Mutex::new(manner));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, manner.clone(), requests.clone()));
        Self {
            port,
            manner,
            requests,
            _tasks: tasks,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/events?token=hush", self.port)
    }

    /// The same without a path.
    pub fn root(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().expect("not poisoned") = manner;
    }

    /// Head and body of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

async fn accept(
    listener: TcpListener,
    manner: Arc<Mutex<Manner>>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(answer(stream, manner.clone(), requests.clone()));
    }
}

async fn answer(
    mut stream: TcpStream,
    manner: Arc<Mutex<Manner>>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    requests.lock().expect("not poisoned").push(text);
    let manner = *manner.lock().expect("not poisoned");
    let _ = match manner {
        Manner::Status(code) => {
            let head =
                format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Manner::Hang => std::future::pending().await,
        Manner::EndlessBody => endless(&mut stream, 500).await,
        Manner::EndlessAnswer => endless(&mut stream, 200).await,
        Manner::Drip => drip(&mut stream).await,
        Manner::Busy => {
            let head = "HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await
        }
        Manner::Redirect => {
            let head = "HTTP/1.1 302 Found\r\nlocation: /healthy\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).await
        }
        Manner::Nonsense => stream.write_all(b"+PONG\r\n").await,
    };
}

async fn endless(stream: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1073741824\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&[b'x'; 8 * 1024]).await?;
    }
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 X\r\nx: ").await?;
    loop {
        stream.write_all(b"x").await?;
        super::wait::pause().await;
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("content-length:")?
            .trim()
            .parse()
            .ok()
    });
    body.len() >= length.unwrap_or(0usize)
}
