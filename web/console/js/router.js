// Pages live in the fragment (#/cameras/dock-door-3?t=...), so that any folder and any
// static server can hold the console and a reload stays where it was.
import { signal } from './lib.js';

function parse() {
  const raw = location.hash.replace(/^#\/?/, '');
  const [path, query = ''] = raw.split('?');
  return { path: path.split('/').filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

/** The page asked for: path parts, decoded, and query. */
export const route = signal(parse());
addEventListener('hashchange', () => { route.value = parse(); });

/** href('cameras', name) -> '#/cameras/name' */
export const href = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
export const go = (...parts) => { location.hash = href(...parts); };

/** Changes the query of this page without a new history entry. */
export function amend(query) {
  const q = new URLSearchParams(query).toString();
  const { path } = parse();
  if (href(...path) !== href(...route.value.path)) return; // the address is that of the next page already
  const next = href(...path) + (q ? `?${q}` : '');
  if (next !== location.hash) history.replaceState(null, '', next);
}

/** Takes the one-time link out of the address, so that it is in no history. */
export function takeLink() {
  const m = /^#link=([^&]+)/.exec(location.hash);
  if (!m) return '';
  history.replaceState(null, '', location.pathname + location.search);
  route.value = parse();
  return decode(m[1]);
}
