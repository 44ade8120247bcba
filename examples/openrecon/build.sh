#!/bin/sh
# Build an OpenRecon archive of this source tree:  examples/openrecon/build.sh [va60|va70]
#
#   CONTAINER     program that builds images: podman (default) or docker
#   LABEL_OPTIONS options of `cinerecon openrecon label`, e.g. "--model ktslr --vendor Clinic --gpu"
#   TORCH_INDEX   package index for torch; default: the CPU build
#   RUN_AS        user of the server in the container: cinerecon (default) or root
set -eu
software=${1:-va60}
container=${CONTAINER:-podman}
key=com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$container" build ${TORCH_INDEX:+--build-arg "TORCH_INDEX=$TORCH_INDEX"} -t localhost/cinerecon .

# shellcheck disable=SC2086  # options are words
cinerecon openrecon label ${LABEL_OPTIONS:-} -o "$work/OpenReconLabel.json"

set -- build -f examples/openrecon/Containerfile --build-arg "RUN_AS=${RUN_AS:-cinerecon}" -t localhost/openrecon-cinerecon
if [ "$software" = va60 ]; then
    set -- "$@" --label "$key=$(base64 "$work/OpenReconLabel.json" | tr -d '\n')"
fi
"$container" "$@" examples/openrecon

case "$container" in
*podman) "$container" save --format docker-archive -o "$work/image.tar" localhost/openrecon-cinerecon ;;
*) "$container" save -o "$work/image.tar" localhost/openrecon-cinerecon ;;
esac
cinerecon openrecon package "$work/image.tar" --label "$work/OpenReconLabel.json" --software "$software" -o .
