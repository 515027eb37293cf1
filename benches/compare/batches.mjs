// A better one: rows come through a cursor, a batch at a time, and its commands go out in one pipeline while the next batch is read.
import pg from 'pg';
import Cursor from 'pg-cursor';
import { createClient } from 'redis';

const redis = createClient({ socket: { path: process.env.REDIS_SOCKET } });
await redis.connect();
const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();

const cursor = db.query(new Cursor('SELECT * FROM bench.bulk'));
let written;
for (let rows; (rows = await cursor.read(1000)).length > 0; ) {
  await written;
  // The client sends what is asked for in one go in one go.
  written = Promise.all(rows.map((row) => redis.set(`bulk:${row.id}`, JSON.stringify(row), { EX: 1800 })));
}
await written;

await cursor.close();
await db.end();
await redis.quit();
