"""Prints the value at a key of Redis, as it was before warm compressed or encrypted it.

    python read.py [--keys FILE] KEY            from the Redis of $REDIS_URL
    python read.py [--keys FILE] --stdin KEY    the value's bytes come from standard input
"""

import argparse
import os
import sys

import redis

from warm_values import open_value, parse_keys


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
            value = redis.Redis.from_url(os.environ["REDIS_URL"]).get(given.key)
        if value is None:
            raise ValueError(f"there is no key {given.key}")
        sys.stdout.buffer.write(open_value(given.key.encode(), value, keys))
    except (ValueError, OSError, redis.RedisError) as error:
        sys.exit(f"read.py: {error}")


if __name__ == "__main__":
    main()
