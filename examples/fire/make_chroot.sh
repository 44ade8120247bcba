#!/bin/sh
# Make a chroot image for FIRE from a container image, without root:
#
#   examples/fire/make_chroot.sh ROOT.tar cinerecon-chroot.img [FREE_MB]
#
# ROOT.tar contains the file system of a container: podman create --name c localhost/cinerecon; podman export -o ROOT.tar c
# FREE_MB is the space left for temporary files, 200 by default. Needs tar, fakeroot and mke2fs (e2fsprogs).
set -eu
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source=$(realpath "$1")
target=$2
free_mb=${3:-200}
start=$(realpath "$(dirname "$0")/start.sh")
work=$(mktemp -d)
trap 'chmod -R u+rwX "$work" && rm -rf "$work"' EXIT
mkdir "$work/root"

# Owners and permissions are kept by fakeroot, from the archive to the image.
export source start free_mb work
fakeroot sh -eu <<'INNER'
tar -xf "$source" -C "$work/root" --exclude='dev/*' --exclude='proc/*' --exclude='sys/*'
mkdir -p "$work/root/dev" "$work/root/proc" "$work/root/sys" "$work/root/tmp/share"
chmod 1777 "$work/root/tmp"
install -m 755 -o root -g root "$start" "$work/root/start-cinerecon.sh"
# directories and inodes of ext3 take about 8 % more than the files
used_mb=$(du -sm --apparent-size "$work/root" | cut -f1)
files=$(find "$work/root" | wc -l)
size_mb=$((used_mb * 108 / 100 + files * 4 / 1024 + free_mb + 16))
mke2fs -q -F -t ext3 -m 0 -N $((files + 20000)) -d "$work/root" "$work/chroot.img" "${size_mb}M"
INNER
mv "$work/chroot.img" "$target"
echo "wrote $target"
