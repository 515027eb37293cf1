"""Reads values that warm has compressed or encrypted (docs/sealed-values.md). Python 3.9 or newer.

    keys = parse_keys(open("/run/secrets/warm-keys").read())
    user = json.loads(open_value(b"user:42", redis.get("user:42"), keys))
"""

import base64
import binascii
import zlib

import lz4.frame
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

MAGIC = b"\xd7wrm"
ZSTD = b"\x28\xb5\x2f\xfd"
LZ4 = b"\x04\x22\x4d\x18"
GZIP = b"\x1f\x8b"
NONCE = 12
TAG = 16
STEP = 256


class Unreadable(ValueError):
    """The value cannot be what warm wrote to this key."""


class UnknownKey(Unreadable):
    """The value is encrypted with a key that was not given."""


def parse_keys(text):
    """The keys of a file with a key's name and its base64 in each line. No message holds anything of a line."""
    keys = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            name, secret = words[0], base64.b64decode(words[1], validate=True)
        except (IndexError, binascii.Error):
            secret = b""
        if len(words) != 2 or len(secret) != 32:
            raise ValueError(f"line {number} is no key: NAME BASE64-OF-32-BYTES") from None
        keys[name] = secret
    return keys


def open_value(name, value, keys=None, limit=64 << 20):
    """The value that stands in Redis at `name` (bytes), which is the whole key, with key_prefix. What is neither encrypted nor compressed is itself."""
    if value.startswith(MAGIC):
        value = _decrypt(name, value, keys or {})
    return _decompress(value, limit)


def _decrypt(name, value, keys):
    if value[4:5] != b"\x01":
        raise Unreadable(f"version {value[4:5].hex() or 'none'} is not known")
    start = 6 + (value[5] if len(value) > 5 else 0)
    if len(value) < start + NONCE + TAG:
        raise Unreadable("the value is too short")
    key = value[6:start].decode("latin-1")
    if key not in keys:
        raise UnknownKey(f'it is encrypted with the key "{key}", which was not given')
    try:
        return AESGCMSIV(keys[key]).decrypt(value[start : start + NONCE], value[start + NONCE :], name)
    except InvalidTag:
        raise Unreadable("the value was changed, belongs to another key of Redis, or its key has another secret") from None


def _decompress(value, limit):
    try:
        if value.startswith(ZSTD):
            frame, content = _unzstd(value, limit)
        elif value.startswith(LZ4):
            frame = lz4.frame.LZ4FrameDecompressor()
            content = frame.decompress(value, max_length=limit + 1)
        elif value.startswith(GZIP):
            frame = zlib.decompressobj(wbits=31)
            content = frame.decompress(value, limit + 1)
        else:
            frame, content = None, value
    except (zstandard.ZstdError, RuntimeError, zlib.error) as error:
        raise Unreadable(f"the value cannot be decompressed: {error}") from None
    if len(content) > limit:
        raise Unreadable(f"the value is longer than {limit} bytes")
    # Each of them gives what it has, also of a frame that was cut short.
    if frame and (not frame.eof or frame.unused_data):
        raise Unreadable("the compressed value is not whole, or something stands behind it")
    return content


def _unzstd(value, limit):
    """Little by little, since there is no limit to what comes out of one step."""
    frame, chunks, length, at = zstandard.ZstdDecompressor().decompressobj(), [], 0, 0
    while at < len(value) and not frame.eof and length <= limit:
        chunks.append(frame.decompress(value[at : at + STEP]))
        length, at = length + len(chunks[-1]), at + STEP
    if at < len(value) and length <= limit:
        raise Unreadable("something stands behind the compressed value")
    return frame, b"".join(chunks)
