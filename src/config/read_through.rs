//! Where `warm serve` gives the values of keys to whoever asks, and what it keeps of them.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::diagnostic::{Collector, Diagnostic};
use super::paths::named;
use super::raw::{self, Text};
use super::settings::{duration, must_be, size};
use super::sources::Sources;
use crate::ground::settings::{KeysSettings, Level1};

/// Bounds of `level1_ttl`: what is kept for long is stale for long.
const TTL: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60));
/// The most bytes of `level1`.
const MOST: usize = 64 << 30;

/// `keys_socket`, `keys_socket_mode`, `keys_listen`, `keys_invalidate`, `level1` and `level1_ttl` of `[serve]`.
pub(super) fn keys(raw: &raw::Serve, file: &Path, sources: &Sources, collector: &mut Collector) -> KeysSettings {
    const SOCKET: &str = "keys_socket = \"/run/warm/keys.sock\" names one";
    let socket = raw.keys_socket.as_ref().map(|text| named("file", text, file, sources, SOCKET));
    let mode = raw.keys_socket_mode.as_ref().map(|text| mode(text, sources));
    let listen = raw.keys_listen.as_ref().map(|text| {
        let expected = "an address with a port, such as \"127.0.0.1:19277\"";
        let address = text.get_ref().parse().map_err(|_| must_be("serve.keys_listen", expected, text.span(), sources));
        address.map(|address| (address, text.span()))
    });
    let bytes = raw.level1.as_ref().map(|given| size("serve.level1", given, 0..=MOST, "at most 64GiB", sources));
    let ttl = raw.level1_ttl.as_ref().map(|given| duration("serve.level1_ttl", given, TTL, sources));
    let listen = listen.and_then(|listen| collector.take(listen));
    let is_open = |(address, _): &&(SocketAddr, Range<usize>)| !address.ip().is_loopback();
    let invalidate = raw.keys_invalidate.as_ref().filter(|invalidate| *invalidate.get_ref());
    if let Some((address, span)) = listen.as_ref().filter(is_open) {
        let more = if invalidate.is_some() { ", and delete those of [invalidate]" } else { "" };
        let message = format!("whoever can reach {address} can read all keys of the jobs{more}, without a password");
        let warning = sources.error(span.clone(), message).into_warning();
        collector.push(warning.help("listen on 127.0.0.1, or let a firewall say who may connect"));
    }
    if let Some(invalidate) = invalidate.filter(|_| raw.keys_socket.is_none() && raw.keys_listen.is_none()) {
        let message =
            "`serve.keys_invalidate` lets others delete keys where values are given, and they are given nowhere";
        let warning = sources.error(invalidate.span(), message).into_warning();
        collector.push(warning.help("say where with `keys_socket` or `keys_listen`, or remove it"));
    }
    KeysSettings {
        socket: socket.and_then(|socket| collector.take(socket)),
        socket_mode: mode.and_then(|mode| collector.take(mode)).unwrap_or(0o660),
        listen: listen.map(|(address, _)| address),
        invalidate: invalidate.is_some(),
        level1: Level1 {
            bytes: bytes.and_then(|bytes| collector.take(bytes)).unwrap_or(64 << 20),
            ttl: ttl.and_then(|ttl| collector.take(ttl)).unwrap_or(Duration::from_secs(1)),
        },
    }
}

fn mode(text: &Text, sources: &Sources) -> Result<u32, Diagnostic> {
    let mode = u32::from_str_radix(text.get_ref(), 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| must_be("serve.keys_socket_mode", "permissions such as \"0660\"", text.span(), sources))
}
