//! A sentinel or a node of a cluster that says always the same, because it has missed what changed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Stuck {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Stuck {
    /// A sentinel that names the server on this port.
    pub fn sentinel(port: u16) -> Self {
        let port = port.to_string();
        Self::saying(format!(
            "*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n",
            port.len()
        ))
    }

    /// A node that has the server on this port serve all slots.
    pub fn node(port: u16) -> Self {
        Self::saying(format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n"
        ))
    }

    fn saying(answer: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for line in listener.incoming() {
                let Ok(mut line) = line else { return };
                let mut question = [0; 1024];
                while let Ok(1..) = line.read(&mut question) {
                    count.fetch_add(1, Ordering::SeqCst);
                    if line.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, asked }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
