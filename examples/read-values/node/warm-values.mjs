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
    const { buffer, engine } = gunzipSync(value, { maxOutputLength: limit, info: true });
    isWhole(value, engine.bytesWritten);
    return buffer;
  } catch (error) {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? new TooLong(limit) : error;
  }
}

function unlz4(value, limit) {
  isWhole(value, endOfLz4(value));
  if (lz4.decompressBound(value) > limit) throw new TooLong(limit);
  return Buffer.from(lz4.decompress(value));
}

// The decompressors may give what they have, also of a frame that was cut short, and pass over what stands behind it.
function isWhole(value, end) {
  if (end !== value.length) throw new Error('the compressed value is not whole, or something stands behind it');
}

// Head (with sizes as its flags say), blocks behind their lengths, a length of 0, and perhaps a checksum: LZ4 Frame Format Description.
function endOfLz4(value) {
  const flags = value[4];
  let at = 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0);
  while (at + 4 <= value.length) {
    const length = value.readUInt32LE(at) & 0x7fffffff;
    at += 4;
    if (length === 0) return at + (flags & 4 ? 4 : 0);
    at += length + (flags & 16 ? 4 : 0);
  }
  return undefined;
}

// The same of Zstandard: RFC 8878, 3.1.1.
function endOfZstd(value) {
  const flags = value[4];
  const single = flags & 32 ? 1 : 0;
  let at = 5 + (1 - single) + [0, 1, 2, 4][flags & 3] + [single, 2, 4, 8][flags >> 6];
  while (at + 3 <= value.length) {
    const head = value.readUIntLE(at, 3);
    // A block of one byte that is repeated, or one of as many bytes as it says.
    at += 3 + (((head >> 1) & 3) === 1 ? 1 : head >> 3);
    if (head & 1) return at + (flags & 4 ? 4 : 0);
  }
  return undefined;
}

function unzstd(value, limit) {
  isWhole(value, endOfZstd(value));
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
