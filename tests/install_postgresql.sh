#!/bin/sh
# Installs PostgreSQL's programs with apt, as root or with sudo, and starts no server: the tests start their own.
set -eu
missing="the tests need PostgreSQL's server programs (initdb, postgres)"
command -v apt-get >/dev/null || { echo "$missing: install them, with initdb on the PATH" >&2; exit 1; }
as_root=
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || { echo "$missing: run sudo apt-get install postgresql" >&2; exit 1; }
    as_root="sudo -n"
fi
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}
install postgresql-common || { $as_root apt-get update -qq && install postgresql-common; }
$as_root sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
install postgresql openssl
