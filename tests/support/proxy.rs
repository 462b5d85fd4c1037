//! What stands between: a CONNECT proxy, and a wire that breaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Leads every CONNECT to one address, whatever its name, for who has the right login.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(target: &str, login: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (target, seen) = (target.to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (target, login, seen) = (target.clone(), login.clone(), Arc::clone(&seen));
                std::thread::spawn(move || tunnel(socket, &target, login.as_deref(), &seen));
            }
        });
        Self { address, asked }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The hosts that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(mut socket: TcpStream, target: &str, login: Option<&str>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let (mut first, mut given, mut line) = (String::new(), None, String::new());
    reader.read_line(&mut first).unwrap();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("Proxy-Authorization: ") {
            given = Some(value.trim().to_owned());
        }
    }
    let host = first.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(host);
    if given.as_deref() != login {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(refusal).unwrap();
        return;
    }
    let to = TcpStream::connect(target).unwrap();
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    join(&socket, &to, usize::MAX);
}

/// Copies both ways, and cuts both after so many bytes of `to`.
fn join(from: &TcpStream, to: &TcpStream, limit: usize) {
    let (mut up, mut down) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up, &mut down);
        let _ = down.shutdown(Shutdown::Write);
    });
    let limit = u64::try_from(limit).unwrap();
    let _ = std::io::copy(&mut to.take(limit), &mut &*from);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A way to `target` whose first connections end after so many bytes.
pub fn breaking_wire(target: &str, limits: &[usize]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (target, limits) = (target.to_owned(), limits.to_vec());
    let next = AtomicUsize::new(0);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let limit = limits.get(turn).copied().unwrap_or(usize::MAX);
            let to = TcpStream::connect(&target).unwrap();
            std::thread::spawn(move || join(&socket, &to, limit));
        }
    });
    address
}

/// A way to the HTTP server `target` that refuses every PUT with a body (413), as a proxy with a
/// limit does; one request a connection.
pub fn narrow_proxy(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = target.to_owned();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let target = target.clone();
            std::thread::spawn(move || pass_narrowly(socket, &target));
        }
    });
    address
}

fn pass_narrowly(mut socket: TcpStream, target: &str) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    if head.starts_with("PUT ") && len > 0 {
        let refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        socket.write_all(refusal).unwrap();
        return;
    }
    let mut to = TcpStream::connect(target).unwrap();
    to.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .unwrap();
    to.write_all(&body).unwrap();
    std::io::copy(&mut to, &mut socket).unwrap();
}
