-- Data for demo/schema.sql: 5,000 users, 20,000 events in all states, 100,000 tickets, 30,000 referrals, in a few seconds.
--
-- Every value is derived from the SHA-256 of a row's number, never from random(): the same data each time, but for the dates, which
-- count from the moment of loading, so that there are always events to come. psql -v now=2026-01-01 fixes that moment, too.

\if :{?now}
\else
  \set now now
\endif

-- Compiling such statements takes longer than running them.
SET jit = off;

-- Where "now" is: the midnight (UTC) of the day of loading. Dates below are days and hours from here.
CREATE TEMP TABLE today AS SELECT date_trunc('day', :'now'::timestamptz AT TIME ZONE 'UTC') AS midnight;

-- A row's hash: 32 bytes, of which each random choice for the row takes two, at an offset of its own.
CREATE FUNCTION pg_temp.dice(kind text, n bigint) RETURNS bytea IMMUTABLE LANGUAGE sql AS
  $$ SELECT sha256((kind || n::text)::bytea) $$;
-- A number from 0 to below (at most 65536).
CREATE FUNCTION pg_temp.roll(dice bytea, at int, below int) RETURNS int IMMUTABLE LANGUAGE sql AS
  $$ SELECT (get_byte(dice, at) * 256 + get_byte(dice, at + 1)) % below $$;
-- One of a list.
CREATE FUNCTION pg_temp.pick(dice bytea, at int, list text[]) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT list[1 + (get_byte(dice, at) * 256 + get_byte(dice, at + 1)) % cardinality(list)] $$;
-- An identifier of the form that Prisma's cuid() has: "c" and 24 letters and digits.
CREATE FUNCTION pg_temp.cuid(kind text, n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT 'cm' || substr(encode(pg_temp.dice(kind || '-id', n), 'hex'), 1, 23) $$;

-- ---------------------------------------------------------------------------------------------------- places

-- The 36 states and the Federal Capital Territory, which everybody calls Abuja. The weight is the share of events and users.
CREATE TEMP TABLE place (state text, region text, weight int, latitude float8, longitude float8, lgas text[], venues text[]);
INSERT INTO place VALUES
  ('Lagos', 'west', 240, 6.5244, 3.3792, '{Eti-Osa,Ikeja,Lagos Island,Lagos Mainland,Surulere,Kosofe,Alimosho,Ikorodu,Epe,Badagry}',
    '{Eko Convention Centre,Landmark Event Centre,Tafawa Balewa Square,Terra Kulture Arena,Muri Okunola Park,"Freedom Park, Broad Street",National Theatre}'),
  ('Abuja', 'north', 130, 9.0765, 7.3986, '{Abuja Municipal,Gwagwalada,Bwari,Kuje,Kwali,Abaji}',
    '{International Conference Centre,Eagle Square,"Congress Hall, Transcorp Hilton",Harrow Park,Moshood Abiola National Stadium}'),
  ('Rivers', 'south', 80, 4.8156, 7.0498, '{Port Harcourt,Obio/Akpor,Eleme,Bonny,Oyigbo}',
    '{Obi Wali International Conference Centre,Port Harcourt Pleasure Park,Port Harcourt Polo Club,Adokiye Amiesimaka Stadium}'),
  ('Oyo', 'west', 75, 7.3775, 3.9470, '{Ibadan North,Ibadan South-West,Ogbomosho North,Oyo East,Iseyin}',
    '{"International Conference Centre, University of Ibadan",Mapo Hall,Lekan Salami Stadium,"Cocoa House, Dugbe"}'),
  ('Kano', 'north', 70, 12.0022, 8.5920, '{Kano Municipal,Nassarawa,Fagge,Gwale,Tarauni}',
    '{Coronation Hall,Sani Abacha Stadium,Meena Event Centre,"Gidan Makama"}'),
  ('Kaduna', 'north', 50, 10.5105, 7.4165, '{Kaduna North,Kaduna South,Zaria,Chikun,Jema''a}',
    '{Arewa House,Murtala Muhammed Square,Ahmadu Bello Stadium,Umaru Musa Yar''Adua Hall}'),
  ('Anambra', 'east', 50, 6.2209, 7.0670, '{Awka South,Onitsha North,Nnewi North,Idemili North}',
    '{Dr Alex Ekwueme Square,International Convention Centre Awka,Agulu Lake Resort}'),
  ('Enugu', 'east', 50, 6.4584, 7.5464, '{Enugu North,Enugu South,Enugu East,Nsukka,Udi}',
    '{Okpara Square,Base Event Centre,Nnamdi Azikiwe Stadium,Michael Okpara Hall}'),
  ('Delta', 'south', 50, 5.7040, 5.9339, '{Warri South,Uvwie,Oshimili South,Ughelli North,Sapele}',
    '{Stephen Keshi Stadium,Unity Hall Asaba,Warri City Stadium,Petroleum Training Institute Hall}'),
  ('Edo', 'south', 45, 6.3350, 5.6037, '{Oredo,Egor,Ikpoba-Okha,Esan West,Etsako West}',
    '{Oba Akenzua Cultural Centre,Victor Uwaifo Creative Hub,Samuel Ogbemudia Stadium}'),
  ('Abia', 'east', 20, 5.4527, 7.5248, '{Aba North,Aba South,Umuahia North,Ohafia}', '{}'),
  ('Adamawa', 'north', 12, 9.3265, 12.3984, '{Yola North,Yola South,Mubi North,Numan}', '{}'),
  ('Akwa Ibom', 'south', 25, 5.0377, 7.9128, '{Uyo,Eket,Ikot Ekpene,Oron}', '{Godswill Akpabio International Stadium,Ibom Hall}'),
  ('Bauchi', 'north', 12, 10.3158, 9.8442, '{Bauchi,Katagum,Misau,Ningi}', '{}'),
  ('Bayelsa', 'south', 12, 4.9267, 6.2676, '{Yenagoa,Brass,Ogbia,Sagbama}', '{}'),
  ('Benue', 'north', 16, 7.7322, 8.5391, '{Makurdi,Gboko,Otukpo,Katsina-Ala}', '{}'),
  ('Borno', 'north', 12, 11.8333, 13.1500, '{Maiduguri,Jere,Biu,Bama}', '{}'),
  ('Cross River', 'south', 25, 4.9757, 8.3417, '{Calabar Municipal,Calabar South,Ikom,Ogoja,Obudu}', '{Calabar International Convention Centre,Tinapa Resort,U. J. Esuene Stadium}'),
  ('Ebonyi', 'east', 10, 6.3249, 8.1137, '{Abakaliki,Afikpo North,Ezza North,Ohaozara}', '{}'),
  ('Ekiti', 'west', 12, 7.6211, 5.2214, '{Ado Ekiti,Ikere,Oye,Ijero}', '{}'),
  ('Gombe', 'north', 10, 10.2897, 11.1673, '{Gombe,Akko,Kaltungo,Billiri}', '{}'),
  ('Imo', 'east', 22, 5.4836, 7.0333, '{Owerri Municipal,Owerri North,Orlu,Okigwe}', '{Ahiajoku Convention Centre}'),
  ('Jigawa', 'north', 8, 11.7562, 9.3390, '{Dutse,Hadejia,Gumel,Kazaure}', '{}'),
  ('Katsina', 'north', 12, 12.9855, 7.6171, '{Katsina,Daura,Funtua,Malumfashi}', '{}'),
  ('Kebbi', 'north', 9, 12.4539, 4.1975, '{Birnin Kebbi,Argungu,Yauri,Zuru}', '{"Argungu Fishing Village"}'),
  ('Kogi', 'north', 12, 7.8023, 6.7333, '{Lokoja,Okene,Idah,Ankpa}', '{}'),
  ('Kwara', 'north', 18, 8.4966, 4.5421, '{Ilorin West,Ilorin East,Ilorin South,Offa}', '{}'),
  ('Nasarawa', 'north', 12, 8.4940, 8.5150, '{Lafia,Karu,Keffi,Akwanga}', '{}'),
  ('Niger', 'north', 12, 9.6139, 6.5569, '{Chanchaga,Bida,Suleja,Kontagora}', '{}'),
  ('Ogun', 'west', 40, 7.1475, 3.3619, '{Abeokuta South,Abeokuta North,Ijebu Ode,Sagamu,Ado-Odo/Ota}', '{June 12 Cultural Centre,Olusegun Obasanjo Presidential Library,Moshood Abiola Stadium}'),
  ('Ondo', 'west', 18, 7.2571, 5.2058, '{Akure South,Ondo West,Owo,Okitipupa}', '{The Dome Akure}'),
  ('Osun', 'west', 20, 7.7827, 4.5418, '{Osogbo,Ife Central,Ilesa East,Ede South}', '{Osun-Osogbo Sacred Grove,Oduduwa Hall}'),
  ('Plateau', 'north', 22, 9.8965, 8.8583, '{Jos North,Jos South,Pankshin,Shendam}', '{Crest Hotel,Rwang Pam Stadium}'),
  ('Sokoto', 'north', 12, 13.0059, 5.2476, '{Sokoto North,Sokoto South,Wamako,Bodinga}', '{}'),
  ('Taraba', 'north', 8, 8.8937, 11.3596, '{Jalingo,Wukari,Sardauna,Bali}', '{}'),
  ('Yobe', 'north', 7, 11.7470, 11.9608, '{Damaturu,Potiskum,Bade,Nguru}', '{}'),
  ('Zamfara', 'north', 7, 12.1704, 6.6641, '{Gusau,Kaura Namoda,Talata Mafara,Anka}', '{}');

-- Each state as often as it weighs, numbered from 0: a choice is one look-up.
CREATE TEMP TABLE place_at AS
  SELECT (row_number() OVER (ORDER BY state, i) - 1)::int AS slot, place.* FROM place, generate_series(1, weight) AS i;
CREATE UNIQUE INDEX ON place_at (slot);

-- OFFSET 0 in the sub-queries below makes PostgreSQL compute a row's hash once, not once for each use.

-- ---------------------------------------------------------------------------------------------------- users

INSERT INTO "User"
  ("id", "phoneNumber", "phoneVerified", "email", "firstName", "lastName", "preferredLanguage", "state", "lga", "role", "walletBalance",
   "referralCode", "referredBy", "organizationName", "organizationType", "bankDetails", "isVerified", "verifiedAt", "createdAt",
   "updatedAt", "password")
SELECT
  pg_temp.cuid('user', n),
  pg_temp.pick(d, 0, '{+234803,+234806,+234813,+234701,+234802,+234905}') || lpad(((n * 7919) % 10000000)::text, 7, '0'),
  pg_temp.roll(d, 2, 10) < 8,
  CASE WHEN pg_temp.roll(d, 2, 10) < 9 THEN lower(translate(first, 'ẸỌṢẹọṣáàéèíìóòúù''', 'EOSeosaaeeiioouu')) || n || '@mail.example' END,
  first,
  last,
  pg_temp.pick(d, 4, '{en,en,en,en,pcm,yo,ig,ha}'),
  p.state,
  pg_temp.pick(d, 6, p.lgas),
  CASE WHEN organizer THEN 'organizer' ELSE 'attendee' END,
  pg_temp.roll(d, 8, 400) * 5000,
  'TK' || upper(substr(encode(d, 'hex'), 1, 6)) || n,
  CASE WHEN n > 500 AND pg_temp.roll(d, 10, 3) = 0 THEN pg_temp.cuid('user', 1 + pg_temp.roll(d, 12, 500)) END,
  CASE WHEN organizer THEN last || pg_temp.pick(d, 14, '{" Events"," & Sons Entertainment"," Productions"," Concepts Ltd"," Live"}') END,
  CASE WHEN organizer THEN pg_temp.pick(d, 16, '{company,church,school,association,individual}') END,
  CASE WHEN organizer THEN jsonb_build_object(
    'bank', pg_temp.pick(d, 18, '{GTBank,Zenith Bank,Access Bank,First Bank,UBA,Wema Bank}'),
    'accountName', first || ' ' || last,
    'accountNumber', lpad(((n * 104729) % 10000000000)::text, 10, '0')) END,
  organizer AND pg_temp.roll(d, 20, 4) > 0,
  CASE WHEN organizer AND pg_temp.roll(d, 20, 4) > 0 THEN midnight - pg_temp.roll(d, 22, 300) * interval '1 day' END,
  created,
  created + pg_temp.roll(d, 26, 20000) * interval '1 minute',
  '$2b$10$' || left(repeat(translate(encode(d, 'base64'), '+=', './'), 2), 53)
FROM generate_series(1, 5000) AS n
CROSS JOIN today
CROSS JOIN LATERAL (SELECT pg_temp.dice('user', n) AS d, n % 10 = 0 AS organizer OFFSET 0) AS dice
CROSS JOIN LATERAL (SELECT
  pg_temp.pick(d, 28, '{Chidinma,Emeka,Ngozi,Obinna,Adaeze,Chukwuemeka,Ifeoma,Tunde,Folake,Bọ́lá,Ṣẹgun,Ayọ̀mídé,Yetunde,Kẹ́hìndé,Taiwo,Aisha,Musa,Fatima,Ibrahim,Zainab,Sani,Hauwa,Ebiere,Tamuno,Osagie,Ehi,Efe,Oghene,Terhemba,Nkechi}') AS first,
  pg_temp.pick(d, 30, '{Okafor,Eze,Nwosu,Obi,Okonkwo,Adeyemi,Balogun,Ọlátúnjí,Ogunlẹ́yẹ,Adébáyọ̀,Bello,Abubakar,Yar''Adua,Danjuma,Lawal,Usman,Etim,Effiong,Briggs,Dokubo,Igbinedion,Osaze,Omoregie,Edewor,Tyav,Okoro}') AS last,
  midnight - (30 + pg_temp.roll(d, 24, 900)) * interval '1 day' + pg_temp.roll(d, 26, 1440) * interval '1 minute 7.003 seconds' AS created
  OFFSET 0
) AS person
JOIN place_at AS p ON p.slot = pg_temp.roll(d, 10, (SELECT count(*)::int FROM place_at));

-- ---------------------------------------------------------------------------------------------------- what is sold to whom

-- Which event a ticket is for: few events sell most of the tickets. The event's number is its place by popularity.
CREATE TEMP TABLE sale AS
  SELECT n, pg_temp.dice('ticket', n) AS d, 0 AS event FROM generate_series(1, 100000) AS n;
UPDATE sale SET event = 1 + floor(16000 * power(pg_temp.roll(d, 0, 65536) / 65536.0::float8, 2.6))::int;
CREATE TEMP TABLE sold AS SELECT event, count(*)::int AS tickets FROM sale GROUP BY event;
ANALYZE sold;

-- ---------------------------------------------------------------------------------------------------- events

-- Each kind where it is at home. Titles: %1$s is the state, %2$s a family, %3$s an artist.
CREATE TEMP TABLE kind (nr int, name text, regions text[], hours int, price int, titles text[]);
INSERT INTO kind VALUES
  (0, 'Owanbe', '{west,south,east}', 8, 15000, '{"Owanbe at %1$s: The %2$s Family Carnival","%2$s @ 60: Owanbe for Mummy","Saturday Owanbe with %3$s"}'),
  (1, 'Òwàmbẹ̀', '{west}', 8, 20000, '{"Òwàmbẹ̀ Àgbà: Ìdílé %2$s","Ayẹyẹ Ọjọ́ Ìbí %2$s","Òwàmbẹ̀ ní %1$s pẹ̀lú %3$s"}'),
  (2, 'Traditional Wedding', '{west,east,south,north}', 7, 10000, '{"%2$s & %3$s: Traditional Wedding","Igba Nkwu of the %2$s Family","Ìgbéyàwó Ìbílẹ̀: %2$s weds"}'),
  (3, 'Music Concert', '{west,east,south,north}', 5, 12000, '{"%3$s Live in %1$s","%1$s Afrobeats Night featuring %3$s","%3$s: Homecoming Concert"}'),
  (4, 'Comedy Show', '{west,east,south,north}', 4, 7500, '{"Laugh No Wahala: %1$s Edition","\"No Be Juju Be That\" with %3$s","%2$s''s Comedy Night"}'),
  (5, 'Gospel Concert', '{west,east,south}', 6, 0, '{"%1$s Praise Night","Halleluyah %1$s with %3$s","The Experience of Grace: %2$s Ministries"}'),
  (6, 'New Yam Festival', '{east,south}', 9, 3000, '{"Iri Ji Ọhụrụ: %1$s New Yam Festival","%2$s Kindred New Yam Festival"}'),
  (7, 'Durbar', '{north}', 6, 5000, '{"%1$s Durbar: Hawan Sallah","Hawan Daushe with %3$s"}'),
  (8, 'Tech Meetup', '{west,east,south,north}', 4, 0, '{"%1$s Tech Meetup: Building for 200 Million","DevFest %1$s","Women in Tech %1$s"}'),
  (9, 'Food: Tasting', '{west,east,south,north}', 5, 6000, '{"Jollof Wars: %1$s","Suya & Small Chops by %2$s","The %1$s Food Fair: Bọ̀lì, Amala, Ofe Nsala"}'),
  (10, 'Conference', '{west,east,south,north}', 9, 25000, '{"%1$s Business Summit","%2$s Foundation Leadership Conference"}'),
  (11, 'Football Viewing', '{west,east,south,north}', 3, 1000, '{"Super Eagles Viewing Centre, %1$s","%2$s FC Fans'' Night"}');

CREATE TEMP TABLE kind_at AS
  SELECT region, (row_number() OVER w - 1)::int AS slot, (count(*) OVER (PARTITION BY region))::int AS choices, kind.*
  FROM kind, unnest(regions) AS region WINDOW w AS (PARTITION BY region ORDER BY nr);

INSERT INTO "Event"
SELECT
  id,
  pg_temp.cuid('user', 10 * (1 + pg_temp.roll(d, 0, 500))),
  title,
  format(E'%s. %s\nDoors open at %s. Ticket is needed for entry; "no ticket, no entry".', title,
    pg_temp.pick(d, 2, '{"Aso ebi is available, and every guest is welcome.","Come with family and friends: there is plenty to eat.","Live on stage for one night only — don''t miss it!","Small chops, palm wine and good music till mama calls.","Ẹ káàbọ̀! Nnọọ! Barka da zuwa!","Early birds save up to 50 % (₦5,000)."}'),
    to_char(starts, 'HH24:MI')),
  k.name,
  starts,
  starts + k.hours * interval '1 hour',
  CASE WHEN p.venues <> '{}' AND pg_temp.roll(d, 4, 3) > 0 THEN pg_temp.pick(d, 6, p.venues)
       ELSE lga || pg_temp.pick(d, 6, '{" Civic Centre"," Town Hall"," Township Stadium"," Events Garden"," Multipurpose Hall"," Open Field"}') END,
  p.state,
  lga,
  -- six digits as a map gives them; for some all that a phone gives
  CASE WHEN n % 5 = 0 THEN p.latitude + (pg_temp.roll(d, 8, 60000) - 30000) / 300007.0::float8
       ELSE round((p.latitude + (pg_temp.roll(d, 8, 60000) - 30000) / 300000.0)::numeric, 6)::float8 END,
  CASE WHEN n % 5 = 0 THEN p.longitude + (pg_temp.roll(d, 10, 60000) - 30000) / 300007.0::float8
       ELSE round((p.longitude + (pg_temp.roll(d, 10, 60000) - 30000) / 300000.0)::numeric, 6)::float8 END,
  hidden,
  CASE WHEN hidden THEN upper(substr(encode(d, 'hex'), 1, 6)) END,
  CASE WHEN hidden OR pg_temp.roll(d, 12, 8) = 0 THEN 'https://tikit.example/e/' || substr(id, 3, 8) END,
  capacity,
  coalesce(tickets, 0),
  CASE WHEN k.price = 0
    THEN jsonb_build_array(jsonb_build_object('id', 'free', 'name', 'Free entry', 'price', 0, 'quantity', capacity))
    ELSE jsonb_build_array(
      jsonb_build_object('id', 'regular', 'name', 'Regular', 'price', e.price, 'quantity', capacity * 7 / 10, 'perks', '[]'::jsonb),
      jsonb_build_object('id', 'vip', 'name', 'VIP', 'price', e.price * 3, 'quantity', capacity / 5, 'perks', '["Front row","Small chops"]'::jsonb),
      jsonb_build_object('id', 'table', 'name', 'Table for 10', 'price', e.price * 20, 'quantity', capacity / 100, 'perks', '["Table","2 bottles","Aso ebi"]'::jsonb,
        'discount', jsonb_build_object('earlyBird', 0.15, 'until', to_char(starts - interval '14 days', 'YYYY-MM-DD')))) END,
  CASE WHEN k.nr IN (0, 1, 2, 6, 7) THEN jsonb_build_object(
    'asoEbi', jsonb_build_object('available', true, 'colour', pg_temp.pick(d, 14, '{Emerald green,Wine,Royal blue,Champagne gold,Burnt orange}'), 'price', 25000 + pg_temp.roll(d, 14, 9) * 2500),
    'sprayMoney', k.nr < 2,
    'languages', jsonb_build_array(pg_temp.pick(d, 16, '{Yorùbá,Igbo,Hausa,Edo,Ẹ̀fịk}'), 'English')) END,
  CASE pg_temp.roll(d, 18, 12) WHEN 0 THEN NULL ELSE ARRAY(
    SELECT format('https://cdn.tikit.example/events/%s/%s.jpg', id, i) FROM generate_series(1, pg_temp.roll(d, 18, 12) / 3) AS i) END,
  format('*7447*%s#', 10000 + n),
  CASE WHEN tickets IS NULL AND pg_temp.roll(d, 20, 20) < 9 THEN 'draft'
       WHEN pg_temp.roll(d, 20, 50) = 49 THEN 'cancelled'
       WHEN starts < midnight AND pg_temp.roll(d, 20, 10) < 8 THEN 'completed'
       ELSE 'published' END,
  created,
  least(created + pg_temp.roll(d, 22, 30000) * interval '1 minute 0.777 seconds', midnight)
FROM generate_series(1, 20000) AS n
CROSS JOIN today
CROSS JOIN LATERAL (SELECT pg_temp.dice('event', n) AS d, pg_temp.cuid('event', n) AS id OFFSET 0) AS dice
JOIN place_at AS p ON p.slot = pg_temp.roll(d, 26, (SELECT count(*)::int FROM place_at))
JOIN kind_at AS k ON k.region = p.region AND k.slot = pg_temp.roll(d, 24, k.choices)
LEFT JOIN sold ON sold.event = n
CROSS JOIN LATERAL (SELECT
  pg_temp.pick(d, 28, p.lgas) AS lga,
  -- half a year back to half a year ahead, at a quarter of an hour between 8:00 and 21:45
  midnight + (pg_temp.roll(d, 30, 360) - 180) * interval '1 day' + (32 + pg_temp.roll(d, 0, 56)) * interval '15 minutes' AS starts,
  pg_temp.roll(d, 13, 16) = 0 AS hidden,
  greatest(50 * (1 + pg_temp.roll(d, 15, 60)), (coalesce(tickets, 0) / 450 + 1) * 500) AS capacity,
  k.price + pg_temp.roll(d, 17, 10) * 500 AS price,
  midnight - (181 + pg_temp.roll(d, 19, 200)) * interval '1 day' + pg_temp.roll(d, 21, 65536) * interval '1.319 seconds' AS created,
  format(pg_temp.pick(d, 23, k.titles), p.state,
    pg_temp.pick(d, 25, '{Okafor,Adeyemi,Bello,Balogun,Danjuma,Eze,Igbinedion,Etim,Briggs,Ọlátúnjí,Nwosu,Lawal}'),
    pg_temp.pick(d, 27, '{DJ Kunle,Mama Risi,King Sọjí,Chief Ebele,Sister Blessing,MC Akpors,Ayọ̀ & the Talking Drums,Nkem,Alhaji Sani,Lady Ebiere}')) AS title
  OFFSET 0
) AS e;

-- ---------------------------------------------------------------------------------------------------- tickets

INSERT INTO "Ticket"
  ("id", "eventId", "userId", "tierId", "qrCode", "backupCode", "status", "purchaseDate", "usedAt", "culturalSelections", "createdAt",
   "updatedAt")
SELECT
  pg_temp.cuid('ticket', sale.n),
  e."id",
  pg_temp.cuid('user', 1 + pg_temp.roll(d, 2, 5000)),
  coalesce(e."tiers" -> least(pg_temp.roll(d, 4, 10) / 6, jsonb_array_length(e."tiers") - 1) ->> 'id', 'free'),
  'TIKIT:' || upper(encode(substr(d, 1, 12), 'hex')),
  lpad(((sale.n * 7368787::bigint) % 100000000)::text, 8, '0'),
  CASE WHEN e."status" = 'cancelled' THEN 'refunded'
       WHEN e."startDate" < midnight THEN pg_temp.pick(d, 6, '{used,used,used,expired}')
       ELSE pg_temp.pick(d, 6, '{valid,valid,valid,valid,valid,valid,valid,valid,valid,transferred}') END,
  bought,
  CASE WHEN e."startDate" < midnight AND pg_temp.pick(d, 6, '{used,used,used,expired}') = 'used' AND e."status" <> 'cancelled'
       THEN e."startDate" + pg_temp.roll(d, 8, 180) * interval '1 minute' END,
  CASE WHEN e."culturalFeatures" IS NOT NULL AND pg_temp.roll(d, 10, 4) = 0 THEN jsonb_build_object(
    'asoEbi', jsonb_build_object('selected', true, 'size', pg_temp.pick(d, 12, '{S,M,L,XL}'), 'yards', 2 + 0.5::float8 * pg_temp.roll(d, 12, 4),
      'delivery', jsonb_build_object('method', pg_temp.pick(d, 14, '{pickup,courier}'), 'note', 'Call before you come — "bọ́sí ilé"')),
    'meals', jsonb_build_array(pg_temp.pick(d, 16, '{Jollof rice,Pounded yam & egusi,Tuwo shinkafa,Amala & ewedu}'), 'Chapman')) END,
  bought,
  bought
FROM sale
CROSS JOIN today
JOIN "Event" AS e ON e."id" = pg_temp.cuid('event', sale.event)
CROSS JOIN LATERAL (SELECT
  least(e."startDate", midnight) - (1 + pg_temp.roll(d, 18, 170)) * interval '1 hour' - pg_temp.roll(d, 20, 60000) * interval '0.061 seconds' AS bought
  OFFSET 0
) AS t;

-- ---------------------------------------------------------------------------------------------------- referrals

-- Few users refer most of the others; the rest are many with equal counts, so that ties matter.
INSERT INTO "Referral" ("id", "referrerId", "referredUserId", "status", "rewardAmount", "rewardPaid", "createdAt", "completedAt")
SELECT
  pg_temp.cuid('referral', n),
  pg_temp.cuid('user', 1 + floor(5000 * power(pg_temp.roll(d, 0, 65536) / 65536.0::float8, 2.2))::int),
  pg_temp.cuid('user', 1 + pg_temp.roll(d, 2, 5000)),
  status,
  500 * (1 + pg_temp.roll(d, 6, 4)),
  status = 'completed' AND pg_temp.roll(d, 8, 4) > 0,
  created,
  CASE WHEN status = 'completed' THEN created + pg_temp.roll(d, 10, 10000) * interval '1 minute 0.013 seconds' END
FROM generate_series(1, 30000) AS n
CROSS JOIN today
CROSS JOIN LATERAL (SELECT pg_temp.dice('referral', n) AS d OFFSET 0) AS dice
CROSS JOIN LATERAL (SELECT
  pg_temp.pick(d, 4, '{completed,completed,completed,completed,completed,completed,completed,pending,pending,expired}') AS status,
  midnight - (8 + pg_temp.roll(d, 12, 400)) * interval '1 day' + pg_temp.roll(d, 14, 60000) * interval '1.001 seconds' AS created
  OFFSET 0
) AS r;

-- ---------------------------------------------------------------------------------------------------- done

RESET jit;
DROP TABLE today, place, place_at, sale, sold, kind, kind_at;
ANALYZE;
