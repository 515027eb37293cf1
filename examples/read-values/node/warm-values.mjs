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

/** The value is encrypted with a key that was not given. */
export class UnknownKey extends Error {}

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
  if (value[4] !== 1) throw new Error(`version ${value.toString('hex', 4, 5) || 'none'} is not known`);
  const start = 6 + (value[5] ?? 0);
  if (value.length < start + NONCE + TAG) throw new Error('the value is too short');
  const id = value.toString('latin1', 6, start);
  const secret = keys.get(id);
  if (secret === undefined) throw new UnknownKey(`it is encrypted with the key ${JSON.stringify(id)}, which was not given`);
  const cipher = gcmsiv(secret, value.subarray(start, start + NONCE), Buffer.from(name));
  try {
    // The tag is checked before anything is given back.
    return Buffer.from(cipher.decrypt(value.subarray(start + NONCE)));
  } catch {
    throw new Error('the value was changed, belongs to another key of Redis, or its key has another secret');
  }
}

function decompress(value, limit) {
  const known = [[ZSTD, unzstd], [GZIP, gunzip], [LZ4, unlz4]];
  const [, way] = known.find(([magic]) => startsWith(value, magic)) ?? [];
  if (way === undefined) return value;
  try {
    return way(value, limit);
  } catch (error) {
    if (error instanceof TooLong) throw error;
    throw new Error(`the value cannot be decompressed: ${error.message}`);
  }
}

function gunzip(value, limit) {
  try {
    return gunzipSync(value, { maxOutputLength: limit });
  } catch (error) {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? new TooLong(limit) : error;
  }
}

function unlz4(value, limit) {
  if (lz4.decompressBound(value) > limit) throw new TooLong(limit);
  return Buffer.from(lz4.decompress(value));
}

function unzstd(value, limit) {
  const chunks = [];
  let length = 0;
  const stream = new Decompress((chunk) => {
    length += chunk.length;
    if (length > limit) throw new TooLong(limit);
    chunks.push(chunk);
  });
  stream.push(value, true);
  return Buffer.concat(chunks);
}

class TooLong extends Error {
  constructor(limit) {
    super(`the value is longer than ${limit} bytes`);
  }
}

function startsWith(value, bytes) {
  return value.subarray(0, bytes.length).equals(bytes);
}
