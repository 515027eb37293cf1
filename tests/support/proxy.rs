//! A TCP proxy in front of a server on a unix socket or a port, whose connections can be broken on purpose.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to the answers of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: they pass.
    None,
    /// The connection is closed after so many bytes.
    CutAfter(usize),
    /// After so many bytes nothing comes any more; the connection stays open.
    FreezeAfter(usize),
    /// So many bytes pass every 20 ms.
    Slow(usize),
    /// After so many bytes, one comes every 500 ms.
    Trickle(usize),
    /// The byte at this place is replaced.
    Corrupt(usize),
}

pub struct Proxy {
    pub port: u16,
    /// The port of the server.
    server: Arc<AtomicU16>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    /// The faults of the next connections, in order; later ones have none.
    faults: Arc<Mutex<Vec<Fault>>>,
    accepted: Arc<AtomicUsize>,
    /// What the clients of the first so many connections send does not go on.
    held: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy for the server at a TCP port of this machine.
    pub fn before(port: u16, faults: &[Fault]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            server: Arc::new(AtomicU16::new(port)),
            clients: Arc::default(),
            faults: Arc::new(Mutex::new(faults.iter().rev().copied().collect())),
            accepted: Arc::new(AtomicUsize::new(0)),
            held: Arc::new(AtomicUsize::new(0)),
        };
        let (faults, accepted) = (Arc::clone(&proxy.faults), Arc::clone(&proxy.accepted));
        let held = Arc::clone(&proxy.held);
        let (server, clients) = (Arc::clone(&proxy.server), Arc::clone(&proxy.clients));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                let fault = faults.lock().unwrap().pop().unwrap_or(Fault::None);
                // A server that is down closes the client's connection, as the kernel would.
                let mut clients = clients.lock().unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server.load(Ordering::SeqCst))) else { continue };
                clients.push(client.try_clone().unwrap());
                let (client_in, server_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let held = Arc::clone(&held);
                let wait = move || {
                    while number < held.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                };
                thread::spawn(move || pump(client_in, server_out, Fault::None, wait));
                thread::spawn(move || pump(server, client, fault, || ()));
            }
        });
        proxy
    }

    /// Leads later connections to the server at another port, or to nobody, if nobody is there.
    pub fn lead_to(&self, port: u16) {
        let _no_connection_is_being_made = self.clients.lock().unwrap();
        self.server.store(port, Ordering::SeqCst);
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        for client in self.clients.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Keeps what clients send from now on through the connections that there are, as a network may do, even beyond the end of a client.
    pub fn hold(&self) {
        self.held.store(self.accepted(), Ordering::SeqCst);
    }

    /// Lets what was held go on.
    pub fn release(&self) {
        self.held.store(0, Ordering::SeqCst);
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, fault: Fault, wait: impl Fn()) {
    let (mut passed, mut buffer) = (0, [0; 16 << 10]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        wait();
        let mut bytes = &mut buffer[..read];
        match fault {
            Fault::CutAfter(limit) | Fault::FreezeAfter(limit) if passed + read > limit => {
                bytes = &mut bytes[..limit - passed];
            }
            Fault::Corrupt(at) if (passed..passed + read).contains(&at) => bytes[at - passed] = b'?',
            _ => {}
        }
        let (step, pause) = match fault {
            Fault::Slow(step) => (step, 20),
            Fault::Trickle(limit) if passed + read > limit => (1, 500),
            _ => (bytes.len().max(1), 0),
        };
        let sent = bytes.chunks(step).try_for_each(|chunk| {
            thread::sleep(Duration::from_millis(pause));
            to.write_all(chunk)
        });
        if sent.is_err() {
            break;
        }
        if bytes.len() < read {
            if matches!(fault, Fault::FreezeAfter(_)) {
                // Swallow the rest; the client's side stays open until the client gives up.
                while matches!(from.read(&mut buffer), Ok(1..)) {}
                return;
            }
            break;
        }
        passed += read;
    }
    // The other side may have closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
