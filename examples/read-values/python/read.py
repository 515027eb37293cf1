"""Prints the value at a key of Redis, as it was before warm compressed or encrypted it.

    python read.py [--keys FILE] KEY            from the Redis of $REDIS_URL
    python read.py [--keys FILE] --stdin KEY    the value's bytes come from standard input
"""

import argparse
import os
import sys
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from warm_values import UnknownKey, open_value, parse_keys

# Who waits for a server that does not answer is told so, and is not made to wait for ever.
PATIENCE = {"socket_connect_timeout": 5, "socket_timeout": 5, "retry": Retry(NoBackoff(), 0)}


def connect(url):
    """A client by a URL as warm takes it: redis://, rediss://, or unix:///PATH?db=0&user=…&pass=…, whose names this library does not know."""
    if url is None:
        raise ValueError("REDIS_URL is not set; it says where Redis is, such as redis://127.0.0.1:6379")
    parts = urlsplit(url)
    if parts.scheme not in ("unix", "redis+unix"):
        return redis.Redis.from_url(url, **PATIENCE)
    said = dict(parse_qsl(parts.query))
    account = {"username": said.get("user"), "password": said.get("pass"), "db": int(said.get("db", 0))}
    return redis.Redis(unix_socket_path=unquote(parts.path), **account, **PATIENCE)


def from_redis(key):
    client = connect(os.environ.get("REDIS_URL"))
    try:
        return client.get(key)
    except redis.RedisError as error:
        raise ValueError(f"cannot ask Redis: {error}; REDIS_URL says where it is, and who asks") from None


def main():
    parser = argparse.ArgumentParser(description="Prints the value at a key of Redis, as it was before warm sealed it.")
    parser.add_argument("--keys", metavar="FILE")
    parser.add_argument("--stdin", action="store_true")
    parser.add_argument("key")
    given = parser.parse_args()
    try:
        keys = {}
        if given.keys:
            with open(given.keys, encoding="utf-8") as file:
                keys = parse_keys(file.read())
        if given.stdin:
            value = sys.stdin.buffer.read()
        else:
            value = from_redis(given.key)
        if value is None:
            raise ValueError(f"there is no key {given.key} in Redis")
        sys.stdout.buffer.write(open_value(given.key.encode(), value, keys))
    except UnknownKey as error:
        sys.exit(f"read.py: {error} (--keys FILE)")
    except (ValueError, OSError) as error:
        sys.exit(f"read.py: {error}")


if __name__ == "__main__":
    main()
