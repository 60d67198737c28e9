#!/bin/sh
# Makes sure that what `make` needs is there: Rust with a C compiler, and Postgres' programs.
set -eu

install() { # Debian's package names
    if ! command -v apt-get >/dev/null; then return 1; fi
    if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null; then sudo=sudo; else return 1; fi
    echo "installing $*"
    $sudo apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy "$@" >/dev/null
}

have_postgres() {
    [ -n "${ROSTERHUB_POSTGRES_BIN:-}" ] && return 0
    for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
        /opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb; do
        [ -x "$initdb" ] && return 0
    done
    command -v initdb >/dev/null
}

if ! command -v "${CARGO:-cargo}" >/dev/null; then
    echo "Rust 1.89 or newer is needed: https://rustup.rs" >&2
    exit 1
fi
if ! command -v cc >/dev/null && ! install gcc libc6-dev; then
    echo "A C compiler is needed (Debian/Ubuntu: apt-get install gcc libc6-dev)." >&2
    exit 1
fi
if ! have_postgres && ! install postgresql; then
    echo "Postgres 12 or newer is needed: its programs, not a running server." >&2
    echo "Debian/Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql@16;" >&2
    echo "or set ROSTERHUB_POSTGRES_BIN to the folder of initdb and postgres." >&2
    exit 1
fi
