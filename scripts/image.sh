#!/bin/bash
# Builds the container image with docker, podman or buildah, whichever is there. Its name is
# IMAGE (penstock:VERSION). Arguments are handed to the builder: scripts/image.sh --pull=never
set -euo pipefail
cd "$(dirname "$0")/.."
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
image=${IMAGE:-penstock:$version}

# The OCI format has no HEALTHCHECK; Docker's has, and is what docker makes.
if command -v docker >/dev/null; then
	build=(docker build)
elif command -v podman >/dev/null; then
	build=(podman build --format docker)
elif command -v buildah >/dev/null; then
	build=(buildah build --format docker)
else
	echo "image: none of docker, podman, buildah is on PATH" >&2
	echo "try: apt-get install podman" >&2
	exit 1
fi
"${build[@]}" --build-arg "VERSION=$version" -t "$image" "$@" .
echo "image: $image"
