#!/usr/bin/env bash
# Makes sure that what the tests need is there: installs it on Debian (as root, or
# with sudo that asks nothing), or names what is missing and fails.
set -euo pipefail

declare -A packages=(
  [ffmpeg]=ffmpeg [ffprobe]=ffmpeg [chromium]=chromium [gcc]=gcc [git]=git
  [gst-launch-1.0]=gstreamer1.0-tools [mkfs.ext4]=e2fsprogs [mkfs.xfs]=xfsprogs [aws]=awscli [mosquitto_pub]=mosquitto-clients
)
export PATH="$PATH:/usr/sbin:/sbin"

command -v go >/dev/null || { echo "setup: go is missing: install Go 1.26 or newer" >&2; exit 1; }

missing=()
for tool in "${!packages[@]}"; do
  command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
done
# Plug-ins are libraries, not commands: ask GStreamer itself.
if ! { command -v gst-inspect-1.0 && gst-inspect-1.0 rtspclientsink && gst-inspect-1.0 x264enc; } >/dev/null 2>&1; then
  missing+=(gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-rtsp)
fi
# So is boto3, of Debian's own Python or of the one on PATH.
if ! { /usr/bin/python3 -c 'import boto3' || python3 -c 'import boto3'; } >/dev/null 2>&1; then
  missing+=(python3-boto3)
fi
[ ${#missing[@]} -eq 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
  echo "setup: these are missing, and this is not Debian: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "setup: these are missing: ${missing[*]}" >&2
    echo "try: sudo apt-get install -y ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi
echo "setup: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
