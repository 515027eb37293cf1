-- The tables of an event-ticketing platform, as Prisma's migrations make them: quoted names, camelCase columns, and
-- TIMESTAMP(3) without a zone, which holds UTC. There are no foreign keys: the platform's migrations make none.

-- ---------------------------------------------------------------------------------------------------- who

CREATE TABLE "User" (
  "id"                TEXT         NOT NULL,
  "phoneNumber"       TEXT         NOT NULL,
  "phoneVerified"     BOOLEAN      NOT NULL DEFAULT false,
  "email"             TEXT,
  "firstName"         TEXT,
  "lastName"          TEXT,
  "preferredLanguage" TEXT         NOT NULL DEFAULT 'en',
  "state"             TEXT         NOT NULL,
  "lga"               TEXT,
  "role"              TEXT         NOT NULL DEFAULT 'attendee',
  "walletBalance"     INTEGER      NOT NULL DEFAULT 0,
  "referralCode"      TEXT         NOT NULL,
  "referredBy"        TEXT,
  "organizationName"  TEXT,
  "organizationType"  TEXT,
  "bankDetails"       JSONB,
  "isVerified"        BOOLEAN      NOT NULL DEFAULT false,
  "verifiedAt"        TIMESTAMP(3),
  "adminLevel"        TEXT,
  "permissions"       TEXT,
  "createdAt"         TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"         TIMESTAMP(3) NOT NULL,

  CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);

-- A later migration: the column is the last of the table, but the fourth of the model. The order of SELECT * is not the application's.
ALTER TABLE "User" ADD COLUMN "password" TEXT;

CREATE TABLE "Referral" (
  "id"             TEXT         NOT NULL,
  "referrerId"     TEXT         NOT NULL,
  "referredUserId" TEXT         NOT NULL,
  "status"         TEXT         NOT NULL DEFAULT 'pending',
  "rewardAmount"   INTEGER      NOT NULL,
  "rewardPaid"     BOOLEAN      NOT NULL DEFAULT false,
  "createdAt"      TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "completedAt"    TIMESTAMP(3),

  CONSTRAINT "Referral_pkey" PRIMARY KEY ("id")
);

-- ---------------------------------------------------------------------------------------------------- what

CREATE TABLE "Event" (
  "id"               TEXT             NOT NULL,
  "organizerId"      TEXT             NOT NULL,
  "title"            TEXT             NOT NULL,
  "description"      TEXT             NOT NULL,
  "eventType"        TEXT             NOT NULL,
  "startDate"        TIMESTAMP(3)     NOT NULL,
  "endDate"          TIMESTAMP(3)     NOT NULL,
  "venue"            TEXT             NOT NULL,
  "state"            TEXT             NOT NULL,
  "lga"              TEXT             NOT NULL,
  "latitude"         DOUBLE PRECISION NOT NULL,
  "longitude"        DOUBLE PRECISION NOT NULL,
  "isHidden"         BOOLEAN          NOT NULL DEFAULT false,
  "accessCode"       TEXT,
  "deepLink"         TEXT,
  "capacity"         INTEGER          NOT NULL,
  "ticketsSold"      INTEGER          NOT NULL DEFAULT 0,
  "tiers"            JSONB            NOT NULL,
  "culturalFeatures" JSONB,
  "images"           TEXT[],
  "ussdCode"         TEXT             NOT NULL,
  "status"           TEXT             NOT NULL DEFAULT 'draft',
  "createdAt"        TIMESTAMP(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"        TIMESTAMP(3)     NOT NULL,

  CONSTRAINT "Event_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "EventOrganizer" (
  "id"          TEXT         NOT NULL,
  "eventId"     TEXT         NOT NULL,
  "userId"      TEXT         NOT NULL,
  "role"        TEXT         NOT NULL,
  "permissions" JSONB        NOT NULL,
  "createdAt"   TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"   TIMESTAMP(3) NOT NULL,

  CONSTRAINT "EventOrganizer_pkey" PRIMARY KEY ("id")
);

-- ---------------------------------------------------------------------------------------------------- tickets and money

CREATE TABLE "Ticket" (
  "id"                 TEXT         NOT NULL,
  "eventId"            TEXT         NOT NULL,
  "userId"             TEXT         NOT NULL,
  "tierId"             TEXT         NOT NULL,
  "qrCode"             TEXT         NOT NULL,
  "backupCode"         TEXT         NOT NULL,
  "status"             TEXT         NOT NULL DEFAULT 'valid',
  "purchaseDate"       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "usedAt"             TIMESTAMP(3),
  "scannedBy"          TEXT,
  "groupBuyId"         TEXT,
  "culturalSelections" JSONB,
  "createdAt"          TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"          TIMESTAMP(3) NOT NULL,

  CONSTRAINT "Ticket_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "ScanHistory" (
  "id"         TEXT         NOT NULL,
  "ticketId"   TEXT         NOT NULL,
  "scannedBy"  TEXT         NOT NULL,
  "scannedAt"  TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "location"   TEXT,
  "deviceInfo" TEXT,
  "result"     TEXT         NOT NULL,

  CONSTRAINT "ScanHistory_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "GroupBuy" (
  "id"                  TEXT         NOT NULL,
  "eventId"             TEXT         NOT NULL,
  "initiatorId"         TEXT         NOT NULL,
  "totalParticipants"   INTEGER      NOT NULL,
  "currentParticipants" INTEGER      NOT NULL DEFAULT 0,
  "pricePerPerson"      INTEGER      NOT NULL,
  "expiresAt"           TIMESTAMP(3) NOT NULL,
  "status"              TEXT         NOT NULL DEFAULT 'active',
  "participants"        JSONB        NOT NULL,
  "createdAt"           TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"           TIMESTAMP(3) NOT NULL,

  CONSTRAINT "GroupBuy_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "Payment" (
  "id"              TEXT         NOT NULL,
  "userId"          TEXT         NOT NULL,
  "ticketId"        TEXT,
  "amount"          INTEGER      NOT NULL,
  "currency"        TEXT         NOT NULL DEFAULT 'NGN',
  "method"          TEXT         NOT NULL,
  "status"          TEXT         NOT NULL DEFAULT 'pending',
  "provider"        TEXT         NOT NULL,
  "reference"       TEXT         NOT NULL,
  "metadata"        JSONB,
  "isInstallment"   BOOLEAN      NOT NULL DEFAULT false,
  "installmentPlan" JSONB,
  "createdAt"       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt"       TIMESTAMP(3) NOT NULL,

  CONSTRAINT "Payment_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "Sponsorship" (
  "id"           TEXT         NOT NULL,
  "requesterId"  TEXT         NOT NULL,
  "sponsorPhone" TEXT,
  "code"         TEXT         NOT NULL,
  "eventId"      TEXT         NOT NULL,
  "tierId"       TEXT         NOT NULL,
  "amount"       INTEGER      NOT NULL,
  "status"       TEXT         NOT NULL DEFAULT 'pending',
  "createdAt"    TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "approvedAt"   TIMESTAMP(3),
  "expiresAt"    TIMESTAMP(3) NOT NULL,

  CONSTRAINT "Sponsorship_pkey" PRIMARY KEY ("id")
);

-- ---------------------------------------------------------------------------------------------------- indexes for the platform's queries

CREATE INDEX "Event_state_eventType_startDate_idx" ON "Event" ("state", "eventType", "startDate");
CREATE INDEX "Event_status_startDate_idx" ON "Event" ("status", "startDate");
CREATE INDEX "Ticket_userId_status_idx" ON "Ticket" ("userId", "status");
CREATE INDEX "Ticket_eventId_status_idx" ON "Ticket" ("eventId", "status");
CREATE INDEX "Payment_userId_status_idx" ON "Payment" ("userId", "status");
CREATE INDEX "Referral_referrerId_status_idx" ON "Referral" ("referrerId", "status");
