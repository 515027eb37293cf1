// Reads values that warm has compressed or encrypted (docs/sealed-values.md). Node 18 or newer; all packages are plain JavaScript.
//
//   const keys = parseKeys(await readFile('/run/secrets/warm-keys', 'utf8'));
//   const value = openValue('user:42', await redis.get(commandOptions({ returnBuffers: true }), 'user:42'), keys);
//   const user = JSON.parse(value.toString());
import { gunzipSync } from 'node:zlib';
import { gcmsiv } from '@noble/ciphers/aes';
import { Decompress } from 'fzstd';
import lz4 from 'lz4js';

const MAGIC = Buffer.from([0xd7, 0x77, 0x72, 0x6d]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const LZ4 = Buffer.from([0x04, 0x22, 0x4d, 0x18]);
const GZIP = Buffer.from([0x1f, 0x8b]);
const NONCE = 12;
const TAG = 16;

/** The keys of a file with a key's name and its base64 in each line. No message holds anything of a line. */
export function parseKeys(text) {
  const keys = new Map();
  text.split('\n').forEach((line, index) => {
    const words = line.trim().split(/\s+/);
    if (words[0] === '' || words[0].startsWith('#')) return;
    const secret = Buffer.from(words[1] ?? '', 'base64');
    if (words.length !== 2 || secret.length !== 32) throw new Error(`line ${index + 1} is no key: NAME BASE64-OF-32-BYTES`);
    keys.set(words[0], secret);
  });
  return keys;
}

/**
 * The value that stands in Redis at `name`, which is the whole key, with key_prefix. What is neither encrypted nor compressed is itself.
 * Throws if it cannot be what warm wrote there, or is longer than `limit` bytes.
 */
export function openValue(name, value, keys = new Map(), limit = 64 * 1024 * 1024) {
  return decompress(startsWith(value, MAGIC) ? decrypt(name, value, keys) : value, limit);
}

function decrypt(name, value, keys) {
  if (value[4] !== 1) throw new Error(`version ${value[4]} is not known`);
  const start = 6 + value[5];
  if (!(value.length >= start + NONCE + TAG)) throw new Error('the value is too short');
  const id = value.toString('latin1', 6, start);
  const secret = keys.get(id);
  if (secret === undefined) throw new Error(`there is no key ${JSON.stringify(id)}`);
  const cipher = gcmsiv(secret, value.subarray(start, start + NONCE), Buffer.from(name));
  // The tag is checked before anything is given back.
  return Buffer.from(cipher.decrypt(value.subarray(start + NONCE)));
}

function decompress(value, limit) {
  if (startsWith(value, ZSTD)) return unzstd(value, limit);
  if (startsWith(value, GZIP)) return gunzipSync(value, { maxOutputLength: limit });
  if (!startsWith(value, LZ4)) return value;
  if (lz4.decompressBound(value) > limit) throw tooLong(limit);
  return Buffer.from(lz4.decompress(value));
}

function unzstd(value, limit) {
  const chunks = [];
  let length = 0;
  const stream = new Decompress((chunk) => {
    length += chunk.length;
    if (length > limit) throw tooLong(limit);
    chunks.push(chunk);
  });
  stream.push(value, true);
  return Buffer.concat(chunks);
}

function tooLong(limit) {
  return new Error(`the value is longer than ${limit} bytes`);
}

function startsWith(value, bytes) {
  return value.subarray(0, bytes.length).equals(bytes);
}
