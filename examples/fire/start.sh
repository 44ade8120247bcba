#!/bin/sh
# Start the MRD server in the chroot of FIRE:  start.sh [LOG]
# If FIRE starts this script as root, the server still runs as an ordinary user.
set -eu
log=${1:-/dev/null}
mkdir -p "$(dirname "$log")"
export HOME=/home/cinerecon MPLCONFIGDIR=/tmp/matplotlib PATH=/usr/local/bin:/usr/bin:/bin
exec >>"$log" 2>&1
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=cinerecon --regid=cinerecon --clear-groups cinerecon serve --host 0.0.0.0 --port 9002
fi
exec cinerecon serve --host 0.0.0.0 --port 9002
