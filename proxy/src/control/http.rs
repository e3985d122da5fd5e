//! `GET /metrics` and `GET /health`: just enough HTTP/1, one request a connection.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use weir_core::limits::{METRICS_CONNECTIONS_MAX, METRICS_REQUEST_MAX, METRICS_TIMEOUT};

use super::Control;
use super::net::{Listener, Stream};
use crate::config::LogLevel;
use crate::observe::metrics::{Numbers, health, page};

/// Accepts for ever.
pub(super) async fn serve(control: Rc<Control>, listener: Listener) {
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok(stream) => {
                let control = control.clone();
                spawn_local(async move {
                    converse(&control, stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                let text = format!("can't accept on metrics_listen: {error}");
                control.log.say(
                    LogLevel::Warn,
                    "metrics_failed",
                    &[("reason", (&text).into())],
                );
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn converse(control: &Control, mut stream: Stream) {
    let whole = async {
        let Some(head) = read_head(&mut stream).await? else {
            return Ok(());
        };
        stream.write_all(answer(&head, || control.numbers())).await
    };
    // A client of the metrics page that goes away or is slow is nobody's trouble.
    let _: Result<std::io::Result<()>, _> = timeout(METRICS_TIMEOUT, whole).await;
    stream.end();
}

/// Up to the empty line; `None` if the client left before. A head that is too long comes back cut, which no answer but
/// 400 fits.
async fn read_head(stream: &mut Stream) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !ends(&head) && head.len() < METRICS_REQUEST_MAX {
        let room = METRICS_REQUEST_MAX - head.len();
        if stream.read(&mut head, room).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|w| w == b"\r\n\r\n") || head.windows(2).any(|w| w == b"\n\n")
}

/// The whole response to a request's head.
fn answer(head: &[u8], numbers: impl Fn() -> Numbers) -> Vec<u8> {
    const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    const PLAIN: &str = "text/plain; charset=utf-8";
    let line = head
        .split(|b| *b == b'\r' || *b == b'\n')
        .next()
        .unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line)
        .unwrap_or_default()
        .split(' ')
        .collect();
    let (method, path) = match words.as_slice() {
        [method, path, version] if version.starts_with("HTTP/1.") && ends(head) => (*method, *path),
        _ => {
            return response(
                "400 Bad Request",
                PLAIN,
                "this is no HTTP/1 request\n",
                true,
            );
        }
    };
    if !["GET", "HEAD"].contains(&method) {
        return response("405 Method Not Allowed", PLAIN, "only GET and HEAD\n", true);
    }
    let body = method == "GET";
    match path.split('?').next() {
        Some("/metrics") => response("200 OK", METRICS, &page(&numbers()), body),
        Some("/health") => {
            let (well, text) = health(&numbers());
            response(
                if well {
                    "200 OK"
                } else {
                    "503 Service Unavailable"
                },
                PLAIN,
                text,
                body,
            )
        }
        _ => response(
            "404 Not Found",
            PLAIN,
            "there are /metrics and /health\n",
            body,
        ),
    }
}

fn response(status: &str, kind: &str, text: &str, body: bool) -> Vec<u8> {
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let length = text.len();
    let text = if body { text } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(head: &str) -> String {
        String::from_utf8(answer(head.as_bytes(), Numbers::default)).unwrap()
    }

    #[test]
    fn pages() {
        let page = answered("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
            "{head}"
        );
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(body.contains("weir_build_info{"));
        assert!(answered("GET /health HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n"));
        let head_only = answered("HEAD /health HTTP/1.1\r\n\r\n");
        assert!(head_only.contains("Content-Length: 3\r\n") && head_only.ends_with("\r\n\r\n"));
    }

    #[test]
    fn everything_else_is_refused() {
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\n", "400"),
            ("\u{1}\u{2}\r\n\r\n", "400"),
            ("", "400"),
        ] {
            assert!(
                answered(request).starts_with(&format!("HTTP/1.1 {status} ")),
                "{request:?}"
            );
        }
        assert!(
            answer(b"\xff\xfe /metrics HTTP/1.1\r\n\r\n", Numbers::default)
                .starts_with(b"HTTP/1.1 400")
        );
    }
}
