// Prints the value at a key of Redis, as it was before warm compressed or encrypted it.
//
//   node read.mjs [--keys FILE] KEY            from the Redis of $REDIS_URL
//   node read.mjs [--keys FILE] --stdin KEY    the value's bytes come from standard input
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { commandOptions, createClient } from 'redis';
import { openValue, parseKeys, UnknownKey } from './warm-values.mjs';

// Who waits for a server that does not answer is told so, and is not made to wait for ever.
const patience = 5000;
const socket = { connectTimeout: patience, reconnectStrategy: false };

// A URL as warm takes it: redis://, rediss://, or unix:///PATH?db=0&user=…&pass=…, which this client does not know.
function options(url) {
  if (url === undefined) throw new Error('REDIS_URL is not set; it says where Redis is, such as redis://127.0.0.1:6379');
  if (!/^(redis\+)?unix:/.test(url)) return { url, socket };
  const { pathname, searchParams } = new URL(url);
  const said = (name) => searchParams.get(name) ?? undefined;
  const path = decodeURIComponent(pathname);
  return { socket: { ...socket, path }, username: said('user'), password: said('pass'), database: Number(said('db') ?? 0) };
}

async function fromRedis(key) {
  const client = createClient(options(process.env.REDIS_URL));
  client.on('error', () => {});
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('it does not answer')), patience);
  });
  const answer = async () => {
    await client.connect();
    return client.get(commandOptions({ returnBuffers: true }), key);
  };
  try {
    return await Promise.race([answer(), silence]);
  } catch (error) {
    throw new Error(`cannot ask Redis: ${error.message || error.code}; REDIS_URL says where it is, and who asks`);
  } finally {
    clearTimeout(timer);
    if (client.isReady) await client.disconnect();
  }
}

async function fromStdin() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

try {
  const { values, positionals } = parseArgs({
    options: { keys: { type: 'string' }, stdin: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (positionals.length !== 1) throw new Error('usage: node read.mjs [--keys FILE] [--stdin] KEY');
  const [key] = positionals;
  const keys = values.keys === undefined ? new Map() : parseKeys(await readFile(values.keys, 'utf8'));
  const value = values.stdin ? await fromStdin() : await fromRedis(key);
  if (value === null) throw new Error(`there is no key ${key} in Redis`);
  process.stdout.write(openValue(key, value, keys));
} catch (error) {
  console.error(`read.mjs: ${error.message}${error instanceof UnknownKey ? ' (--keys FILE)' : ''}`);
  process.exit(1);
}
