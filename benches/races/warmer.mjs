// A warmer as people write it: one query, then SET with EX, one await after the other. A pass for each line that comes, "FIRST END".
import { createInterface } from 'node:readline';
import pg from 'pg';
import { createClient } from 'redis';

const redis = createClient({ socket: { path: process.env.REDIS_SOCKET } });
await redis.connect();
const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();

for await (const line of createInterface({ input: process.stdin })) {
  const { rows } = await db.query(process.env.QUERY, line.split(' '));
  for (const { id, payload } of rows) {
    await redis.set(`t:${id}`, payload, { EX: Number(process.env.TTL) });
  }
  console.log('done');
}

await db.end();
await redis.quit();
