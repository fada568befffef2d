//! Pages as a client gets them, and a client that holds its connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const CONNECTIONS: usize = 8;

async fn get(path: &str, stream: &mut TcpStream) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn pages_are_served_and_who_says_nothing_is_let_go() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, CONNECTIONS, |path| async move {
            if path == "/healthz" { Page::text(200, "ok\n") } else { Page::missing() }
        }));
        // As many as there may be; they say nothing.
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(at).await.unwrap());
        }
        let mut waiting = TcpStream::connect(at).await.unwrap();
        drop(silent.pop());
        let healthz = get("/healthz", &mut waiting).await;
        assert!(healthz.starts_with("HTTP/1.1 200 OK\r\n") && healthz.ends_with("\r\n\r\nok\n"), "{healthz}");
        drop(silent.pop());
        let missing = get("/other", &mut TcpStream::connect(at).await.unwrap()).await;
        assert!(missing.starts_with("HTTP/1.1 404 Not Found\r\n"), "{missing}");
        // The others are closed, since nothing came.
        let closed = silent[0].read(&mut [0; 64]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    });
}
