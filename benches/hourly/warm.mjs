// The three hourly jobs as people write them: query, loop, SET with EX, one await after the other.
// The URLs are those of .demo/env, whose servers listen on unix sockets.
import pg from 'pg';
import { createClient } from 'redis';

const redisUrl = new URL(process.env.REDIS_URL);
const redis = createClient({
  socket: { path: redisUrl.pathname },
  username: redisUrl.searchParams.get('user'),
  password: redisUrl.searchParams.get('pass'),
});
await redis.connect();
const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();

const upcoming = `status = 'published' AND "startDate" >= now() AT TIME ZONE 'UTC' AND NOT "isHidden"`;

const popular = await db.query(`SELECT * FROM "Event" WHERE ${upcoming} ORDER BY "ticketsSold" DESC, id LIMIT 50`);
for (const event of popular.rows) {
  await redis.set(`event:${event.id}`, JSON.stringify(event), { EX: 1800 });
}

for (const state of ['Lagos', 'Abuja', 'Kano', 'Rivers', 'Oyo', 'Kaduna', 'Anambra', 'Enugu', 'Delta', 'Edo']) {
  const list = await db.query(`SELECT * FROM "Event" WHERE state = $1 AND ${upcoming} ORDER BY "startDate", id LIMIT 20`, [state]);
  await redis.set(`event:list:state:${state}`, JSON.stringify(list.rows), { EX: 300 });
}

const leaders = await db.query(
  `SELECT "referrerId", count("referredUserId")::int AS count, sum("rewardAmount")::float8 AS sum
   FROM "Referral" WHERE status = 'completed' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100`,
);
const value = leaders.rows.map((row) => ({
  _count: { referredUserId: row.count },
  _sum: { rewardAmount: row.sum },
  referrerId: row.referrerId,
}));
await redis.set('leaderboard:referral:top100', JSON.stringify(value), { EX: 1800 });

await db.end();
await redis.quit();
