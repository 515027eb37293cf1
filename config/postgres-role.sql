-- The least PostgreSQL account that suffices for the jobs in ../jobs: it may log in, and read the tables that they read.
-- As an account that owns the tables and may make roles (CREATEROLE), or as a superuser, connected to the application's database:
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -v password="$PASSWORD" -f config/postgres-role.sql
--
-- Others on the machine can see a command's arguments while it runs. This one takes the password from a file:
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -c '\set password `cat /etc/warm/password`' -f config/postgres-role.sql
--
-- The job user-profiles, which is disabled unless it has a key to encrypt with, needs a right that the account does not get without -v profiles=1.
--
-- Other names: -v role=warm -v schema=public. It can be run again at any time: to change the password, or after a job was added that
-- reads another table (add that to the GRANT below).

\if :{?role}
\else
  \set role warm
\endif
\if :{?schema}
\else
  \set schema public
\endif
\if :{?password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'no password is given: add -v password=…'; END $$;
  \quit
\endif

-- All or nothing: a running job never sees the account without its rights.
BEGIN;

-- A server that logs statements shall not log the password. Where we may not say so, it is the server's owner who decides.
DO $$ BEGIN SET LOCAL log_statement = 'none'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;

SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

-- warm opens 4 connections at most unless told otherwise (`connections`), and with [changes] one more, and yet another one while it connects anew. Twice 6 leaves room for a
-- second instance.
ALTER ROLE :"role" LOGIN CONNECTION LIMIT 12 PASSWORD :'password';

-- A safety net below the settings that warm makes itself for each transaction.
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET statement_timeout = '5min';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '5min';
ALTER ROLE :"role" SET search_path = :"schema";

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA :"schema" TO :"role";

-- What an earlier version of this file granted is taken back, so that the list below is all there is.
REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM :"role";
GRANT SELECT ON
  :"schema"."Event",     -- popular-events, event-lists, event-feed, tickets-of-user, analytics
  :"schema"."Referral",  -- referral-leaderboard
  :"schema"."Ticket",    -- tickets, tickets-of-user, analytics
  :"schema"."Payment",   -- payments, analytics
  :"schema"."GroupBuy"   -- group-buys
TO :"role";
-- analytics counts attendees by state.
GRANT SELECT ("id", "state") ON :"schema"."User" TO :"role";

\if :{?profiles}
  -- user-profiles: the columns that it reads, and so not the one with the hash of the password.
  GRANT SELECT ("id", "phoneNumber", "phoneVerified", "email", "firstName", "lastName", "preferredLanguage", "state", "lga", "role",
                "walletBalance", "referralCode", "referredBy", "organizationName", "organizationType", "bankDetails", "isVerified",
                "verifiedAt", "adminLevel", "permissions", "createdAt", "updatedAt")
  ON :"schema"."User" TO :"role";
\endif

COMMIT;

-- With busy_above in [postgres], warm counts the sessions that are at work. It does so without further rights; to have it count exactly (workers of parallel
-- queries are no sessions), and to let its errors say for how long a transaction has been open:  GRANT pg_read_all_stats TO warm;

-- With slot in [changes], warm serve reads a replication slot (docs/changes.md says what that lets the account do):  ALTER ROLE warm REPLICATION;

-- Up to PostgreSQL 14 everybody may create tables in the schema public. To take that from all accounts, this one included, if the
-- application does not need it:  REVOKE CREATE ON SCHEMA public FROM PUBLIC;
