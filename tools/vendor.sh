#!/bin/bash
# Makes web/dashboard/static/vendor/preact.js of pinned npm packages; needs npm. The file is committed: neither the tests
# nor a user's machine need Node.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund preact@11.2.0 @preact/signals@2.11.4 htm@3.1.1 esbuild@0.28.2
cat > entry.js <<'JS'
export { h, render, Fragment, createContext } from "preact";
export { useState, useEffect, useRef, useMemo, useCallback, useContext, useLayoutEffect } from "preact/hooks";
export { signal, computed, effect, batch, useSignal, useComputed, useSignalEffect } from "@preact/signals";
import htm from "htm";
import { h } from "preact";
export const html = htm.bind(h);
JS
npx esbuild entry.js --bundle --format=esm --minify --legal-comments=none --target=es2022 --log-level=warning \
	--outfile="$here/web/dashboard/static/vendor/preact.js"
sha256sum "$here/web/dashboard/static/vendor/preact.js"
