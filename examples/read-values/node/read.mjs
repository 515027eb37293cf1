// Prints the value at a key of Redis, as it was before warm compressed or encrypted it.
//
//   node read.mjs [--keys FILE] KEY            from the Redis of $REDIS_URL
//   node read.mjs [--keys FILE] --stdin KEY    the value's bytes come from standard input
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { commandOptions, createClient } from 'redis';
import { openValue, parseKeys } from './warm-values.mjs';

async function fromRedis(key) {
  const client = createClient({ url: process.env.REDIS_URL });
  client.on('error', () => {});
  await client.connect();
  try {
    return await client.get(commandOptions({ returnBuffers: true }), key);
  } finally {
    await client.quit();
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
  if (value === null) throw new Error(`there is no key ${key}`);
  process.stdout.write(openValue(key, value, keys));
} catch (error) {
  console.error(`read.mjs: ${error.message}`);
  process.exitCode = 1;
}
