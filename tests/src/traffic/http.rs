//! One question over HTTP, as a load balancer's health check asks it.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::{lab::Namespace, patience::patient};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status: 200, 503.
    pub status: u16,
    /// Headers; their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, if it is JSON; else null.
    pub body: Value,
}

/// Asks for a path from inside a namespace. `timeout` holds for each step; see [`crate::patience`].
pub fn get(
    namespace: &Namespace,
    target: SocketAddr,
    path: &str,
    timeout: Duration,
) -> io::Result<HttpAnswer> {
    let timeout = patient(timeout);
    let mut stream = {
        let _inside = namespace.enter().map_err(io::Error::other)?;
        TcpStream::connect_timeout(&target, timeout)?
    };
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
}

fn parse(text: &str) -> Option<HttpAnswer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(HttpAnswer { status, headers, body: serde_json::from_str(body).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_headers_and_json() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: x\r\n\r\n{\"a\":1}";
        let answer = parse(text).unwrap();
        assert_eq!((answer.status, &answer.body["a"]), (503, &Value::from(1)));
        assert_eq!(answer.headers["content-type"], "x");
        assert_eq!(parse("HTTP/1.1"), None);
    }
}
