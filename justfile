# Shortcuts; each of them is a script that works without just.

# what has to pass before a change lands
ci:
    .ci/run

# all tests, or those whose names contain the given text
test *name:
    ./scripts/test {{name}}

# `warm serve` under random faults, for half an hour or as long as is said
soak *length:
    ./scripts/soak {{length}}

# a Debian package
package:
    ./scripts/package

# the package under a real systemd, as root
test-package *deb:
    ./scripts/test-package {{deb}}

# the three jobs on real data
demo:
    ./scripts/demo

# the hourly jobs beside a Node script
bench:
    ./benches/hourly/run

# a cache filled in bulk: warm beside psql and redis-cli, Node, Python, and Redis alone
compare *arguments:
    ./benches/compare/run {{arguments}}

# what an application's reads take beside a bulk run
reader *arguments:
    ./benches/reader/run {{arguments}}

# hit ratios of a static list, of what is learned, and of an oracle
predict *arguments:
    cargo bench --bench predict -- {{arguments}}

# stale keys: warm beside other warmers of the same cache
races *arguments:
    ./benches/races/run {{arguments}}

# what it costs that no stale key remains
freshness *runs:
    ./benches/freshness/run {{runs}}

# warmth of the lists with refresh_ahead, and how many queries it takes
refresh *seconds:
    ./benches/refresh/run {{seconds}}
