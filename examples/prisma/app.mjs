// An application that reads through a cache, as applications do, and knows nothing of warm.
//
//   node app.mjs read     reads what the hourly jobs write: says how many keys were there, and whether each is, byte for byte, what Prisma would give
//   node app.mjs cache    asks for more than that, and caches what it has asked for, in its own way
//
// DATABASE_URL and REDIS_URL say where (libpq's ?host= for a socket).
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '@prisma/client';
import { createClient } from 'redis';

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
const url = new URL(process.env.REDIS_URL);
const said = Object.fromEntries(url.searchParams);
const socket = { socket: { path: url.pathname }, username: said.user, password: said.pass };
const redis = createClient(url.protocol === 'unix:' ? socket : { url: url.href });
const found = { hits: 0, misses: 0, different: 0 };
const minute = 60;
const now = new Date();
const shown = { status: 'published', startDate: { gte: now }, isHidden: false };
// An order that does not end in something unique may differ from one reading to the next.
const soon = [{ startDate: 'asc' }, { id: 'asc' }];

// The usual way: what is there is used, what is not is asked for and cached.
async function cached(key, seconds, query) {
  const there = await redis.get(key);
  if (there === null) {
    found.misses += 1;
    await redis.setEx(key, seconds, JSON.stringify(await query()));
    return;
  }
  found.hits += 1;
  // An application would not ask now. This one wants to know.
  if (there !== JSON.stringify(await query())) found.different += 1;
}

const event = (id) => cached(`event:${id}`, 30 * minute, () => prisma.event.findUnique({ where: { id } }));
const list = (state) =>
  cached(`event:list:state:${state}`, 5 * minute, () => prisma.event.findMany({ where: { ...shown, state }, orderBy: soon, take: 20 }));
const page = (state, eventType, page) =>
  cached(`event:list:state:${state}:type:${eventType}:page:${page}`, 5 * minute, () =>
    prisma.event.findMany({ where: { state, eventType, isHidden: false }, orderBy: soon, skip: 20 * (page - 1), take: 20 }));
const leaderboard = () =>
  cached('leaderboard:referral:top100', 30 * minute, () =>
    prisma.referral.groupBy({
      by: ['referrerId'],
      where: { status: 'completed' },
      _count: { referredUserId: true },
      _sum: { rewardAmount: true },
      orderBy: [{ _count: { referredUserId: 'desc' } }, { referrerId: 'asc' }],
      take: 100,
    }));
const ticket = (id) => cached(`ticket:${id}`, 5 * minute, () => prisma.ticket.findUnique({ where: { id } }));
const tickets = (userId) =>
  cached(`ticket:user:${userId}:status:valid`, 5 * minute, () =>
    prisma.ticket.findMany({ where: { userId, status: 'valid' }, include: { event: true }, orderBy: { id: 'asc' } }));

const states = ['Lagos', 'Abuja', 'Kano', 'Rivers', 'Oyo', 'Kaduna', 'Anambra', 'Enugu', 'Delta', 'Edo'];
const todo = {
  async read() {
    const popular = await prisma.event.findMany({ where: shown, orderBy: [{ ticketsSold: 'desc' }, { id: 'asc' }], take: 50, select: { id: true } });
    for (const { id } of popular) await event(id);
    for (const state of states) await list(state);
    await leaderboard();
  },
  async cache() {
    await this.read();
    for (const { id } of await prisma.event.findMany({ orderBy: { id: 'asc' }, take: 100, select: { id: true } })) await event(id);
    for (const state of ['Cross River', 'Ogun', 'Nowhere']) await list(state);
    for (const number of [1, 2, 3]) await page('Lagos', 'Music Concert', number);
    for (const { id, userId } of await prisma.ticket.findMany({ orderBy: { id: 'asc' }, take: 20 })) await Promise.all([ticket(id), tickets(userId)]);
    await tickets('nobody');
  },
};

await redis.connect();
await todo[process.argv[2] ?? 'read']();
console.log(`${found.hits} hits, ${found.misses} misses, ${found.different} hits with other bytes than Prisma's`);
await redis.quit();
await prisma.$disconnect();
