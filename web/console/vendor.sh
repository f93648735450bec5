#!/bin/sh
# Copies the console's libraries from their npm packages into vendor/, at the versions
# and checksums of package-lock.json. `vendor.sh --check` changes nothing and fails when
# vendor/ is not what the packages hold. Needs npm; the build does not.
set -eu
cd "$(dirname "$0")"
check=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)
from=$work/node_modules
out=$work/out
mkdir "$out"

# copy SOURCE NAME: drops the source map's address and makes bare imports relative, so
# that no import map (an inline script) is needed.
copy() {
	sed -e '/^\/\/# sourceMappingURL=/d' \
		-e 's#\(from *\|import *\)"preact"#\1"./preact.js"#g' \
		-e 's#\(from *\|import *\)"preact/hooks"#\1"./hooks.js"#g' \
		-e 's#\(from *\|import *\)"@preact/signals-core"#\1"./signals-core.js"#g' \
		"$from/$1" >"$out/$2"
	printf '\n' >>"$out/$2"
}
copy preact/dist/preact.mjs preact.js
copy preact/hooks/dist/hooks.mjs hooks.js
copy @preact/signals/dist/signals.mjs signals.js
copy @preact/signals-core/dist/signals-core.mjs signals-core.js
copy htm/dist/htm.mjs htm.js
cp "$from/preact/LICENSE" "$out/preact.LICENSE.txt"
cp "$from/@preact/signals/LICENSE" "$out/signals.LICENSE.txt"
cp "$from/htm/LICENSE" "$out/htm.LICENSE.txt"

if grep -En "(from|import) *[\"'][^.]" "$out"/*.js; then
	echo "vendor.sh: a bare import is left above; add a rule for it" >&2
	exit 1
fi
if [ "$check" = --check ]; then
	diff -r "$out" vendor && echo "vendor/ is what the packages hold"
	exit
fi
rm -rf vendor
cp -r "$out" vendor
echo "vendor/ renewed:"
wc -c vendor/*.js
