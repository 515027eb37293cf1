// A warmer as people write it: one query, then SET with EX, one await after the other. The argument is the number of rows.
import pg from 'pg';
import { createClient } from 'redis';

const redis = createClient({ socket: { path: process.env.REDIS_SOCKET } });
await redis.connect();
const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();

const { rows } = await db.query('SELECT * FROM bench.bulk WHERE id <= $1', [process.argv[2]]);
for (const row of rows) {
  await redis.set(`bulk:${row.id}`, JSON.stringify(row), { EX: 1800 });
}

await db.end();
await redis.quit();
