#!/bin/sh
# The programs that tests run beside ours, from the distribution where they are missing: as root, or by sudo.
set -eu

packages=
needs() { # a package, for a program that should be in one of these places
    package=$1
    shift
    for place in "$@"; do
        for program in $place; do
            [ -x "$program" ] && return
        done
    done
    packages="$packages $package"
}

needs prometheus /usr/bin/prometheus /usr/local/bin/prometheus
needs prometheus /usr/bin/promtool /usr/local/bin/promtool
needs redis-server /usr/bin/redis-server /usr/local/bin/redis-server
needs postgresql "/usr/lib/postgresql/*/bin/initdb"
[ -n "$packages" ] || exit 0

as_root=
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
if ! command -v apt-get >/dev/null || ! $as_root true; then
    echo "the tests need programs that are not installed, and only root may install:$packages" >&2
    exit 1
fi
# No service is to start, and no cluster is to be made: the tests start their own, on free ports.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install() {
    $as_root apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}
$as_root apt-get update -qq
case "$packages" in
*postgresql*)
    install postgresql-common openssl
    $as_root sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    ;;
esac
# shellcheck disable=SC2086 # several packages
install $packages
