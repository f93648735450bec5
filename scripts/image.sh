#!/bin/bash
# Builds the container image with docker (where its engine runs), podman or buildah; BUILDER
# names one. The image's name is IMAGE (penstock:VERSION). Arguments are handed to the builder:
#   BUILDER=podman scripts/image.sh --pull=never
set -euo pipefail
cd "$(dirname "$0")/.."
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
image=${IMAGE:-penstock:$version}

builder=${BUILDER:-}
if [ -n "$builder" ]; then :
elif docker info >/dev/null 2>&1; then builder=docker
elif command -v podman >/dev/null; then builder=podman
elif command -v buildah >/dev/null; then builder=buildah
else
	echo "image: neither an engine of docker nor podman nor buildah is here" >&2
	echo "try: apt-get install podman" >&2
	exit 1
fi
# The OCI format has no HEALTHCHECK. Docker's has, and is what docker makes.
format=(--format docker)
[ "$builder" = docker ] && format=()
"$builder" build "${format[@]}" --build-arg "VERSION=$version" -t "$image" "$@" .
echo "image: $image"
