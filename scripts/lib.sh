# shellcheck shell=bash
# What scripts/demo and scripts/test share. Sourced, never run; the caller has set -euo pipefail.
#
#   need_cargo                      ends the script if there is no Rust, or one that is too old
#   need_packages postgresql …      installs the Debian packages that the machine lacks
#   postgres_bin                    prints the folder of initdb, pg_ctl and postgres
#   as_postgres COMMAND…            runs a command as a user that PostgreSQL's server accepts

# The checkout that these scripts belong to.
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Progress goes to stderr, so that a script's standard output holds nothing but its results.
# One line for each argument.
say() { printf '%s\n' "$@" >&2; }

# fail WHAT [WAY_OUT…]: ends the script. Each further argument is a line of advice.
fail() {
  say "${0##*/}: $1"
  shift
  local line
  for line in "$@"; do say "  $line"; done
  exit 1
}

# Ends the script unless cargo is there and as new as Cargo.toml wants it.
need_cargo() {
  # A shell that was open while rustup ran does not know its folder yet.
  if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  fi
  local rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  if ! command -v cargo >/dev/null; then
    if [[ -n ${SUDO_USER:-} ]]; then
      fail "there is no cargo in root's PATH" "run the script without sudo: it asks for it itself where it is needed"
    fi
    fail "there is no cargo in PATH: warm is built from source, which needs Rust" "$rustup"
  fi
  local wanted found
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$project/Cargo.toml")
  found=$(cd "$project" && rustc --version) ||
    fail "cargo is there, but rustc does not run" "rustup toolchain install stable, or: $rustup"
  found=${found#rustc }
  found=${found%%[ -]*}
  if [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
    fail "Rust $found is too old: warm needs $wanted or newer" "rustup update, or: $rustup"
  fi
}

# The folder of PostgreSQL's server programs: $POSTGRES_BIN, or the newest version's on Debian, or that of initdb in PATH.
# Debian keeps them out of PATH because several versions live side by side.
postgres_bin() {
  local folder
  for folder in ${POSTGRES_BIN:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(dirname "$(command -v initdb || echo none/initdb)")"}; do
    if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]]; then
      printf '%s\n' "$folder"
      return
    fi
  done
  return 1
}

# Runs a command as user postgres if we are root, whom PostgreSQL's server refuses to serve, else as ourselves.
# In the root folder, since postgres may not be able to enter ours: paths have to be absolute.
as_postgres() (
  cd /
  if [[ $EUID != 0 ]]; then
    "$@"
    return
  fi
  id postgres >/dev/null 2>&1 ||
    fail "there is no user postgres, and PostgreSQL does not run as root" "useradd --system postgres, or run the script as another user"
  runuser -u postgres -- "$@"
)

# need_packages PACKAGE…: installs what is missing, as root or through sudo, and without a question.
#
# What counts is the programs, not where they came from: a machine whose PostgreSQL is not Debian's needs no package.
# The services of packages that are installed here are neither started nor enabled: these scripts run servers of their own,
# and nobody asked for any other. Servers that were there before are left alone.
need_packages() {
  local package missing=()
  for package in "$@"; do
    is_there "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then return; fi
  if ! command -v apt-get >/dev/null; then
    fail "this machine lacks ${missing[*]}, and there is no apt-get to install them with" "install them (they are Debian's names) and run the script again"
  fi
  local sudo=()
  if [[ $EUID != 0 ]]; then
    command -v sudo >/dev/null ||
      fail "this machine lacks ${missing[*]}, and only root may install them" "as root: apt-get install ${missing[*]}"
    sudo=(sudo)
    say "Installing ${missing[*]} (through sudo)"
  else
    say "Installing ${missing[*]}"
  fi
  local log
  log=$(mktemp)
  # The function travels as text, because sudo starts a new shell.
  if ! "${sudo[@]}" bash -c "$(declare -f install_quietly); install_quietly \"\$@\"" install "${missing[@]}" </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install ${missing[*]}; its last words are above" "see to it by hand: apt-get update && apt-get install ${missing[*]}"
  fi
  rm -f "$log"
  for package in "${missing[@]}"; do
    is_there "$package" || fail "$package is installed, but its programs are not to be found" "dpkg -L $package shows where they are"
  done
}

# Whether the programs that a package is wanted for are there.
is_there() {
  case $1 in
    postgresql) postgres_bin >/dev/null && command -v psql >/dev/null ;;
    redis-server) command -v redis-server >/dev/null && command -v redis-cli >/dev/null ;;
    build-essential) command -v cc >/dev/null ;;
    *) [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == "install ok installed" ]] ;;
  esac
}

# Runs as root, in a shell of its own, at whose end the traps run: the variables are not local for their sake.
install_quietly() {
  set -euo pipefail
  policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/zz-warm-scripts.conf
  # Debian asks this program before it starts a service. It says no for the two services for as long as we live, so that not
  # even kill -9 leaves a machine behind on which they cannot be started. One that is there already knows better than we do.
  if [[ ! -e $policy ]] || grep -q warm-scripts "$policy"; then
    trap 'rm -f "$policy" "$cluster"' EXIT
    printf '#!/bin/sh\n# warm-scripts\ncase "$*" in *postgresql*|*redis*) kill -0 %s 2>/dev/null && exit 101;; esac\nexit 0\n' $$ >"$policy"
    chmod 755 "$policy"
  else
    trap 'rm -f "$cluster"' EXIT
  fi
  mkdir -p "$(dirname "$cluster")"
  echo 'create_main_cluster = false' >"$cluster"
  export DEBIAN_FRONTEND=noninteractive
  # One broken source among several is no reason to stop; a missing package is.
  apt-get update -q || true
  # Ctrl-C in the middle of an installation would leave packages behind that only an administrator can repair.
  (trap '' INT && apt-get -o DPkg::Lock::Timeout=120 install -q -y --no-install-recommends "$@")
  if [[ -d /run/systemd/system && " $* " == *" redis-server "* ]]; then
    systemctl disable --now redis-server.service
  fi
}
