// What the pages share: who is signed in, the server, the streams, and whether the
// server answers. Pages read signals; only this file and its callers' actions write them.
import { signal, computed, batch } from './lib.js';
import * as api from './api.js';
import { instant } from './format.js';
import { takeLink } from './router.js';

/** @type {any} undefined: not known yet; null: nobody is signed in */
export const session = signal(undefined);
/** @type {any} GET /v1/system, null until it answered or when it may not be read */
export const system = signal(null);
/** @type {any} Map of streams by name, null until the first answer */
export const streams = signal(null);
export const streamsError = signal(/** @type {any} */ (null));
/** null, or {since, next} while the server does not answer */
export const outage = signal(/** @type {any} */ (null));
/** The newest that the server told of events: {mark}, {unmark}, or {again} after it was away. */
export const told = signal(/** @type {any} */ (null));
/** Ticks each second while the page is seen. */
export const now = signal(Date.now());
export const toasts = signal(/** @type {{id:number,text:string,tone:string,act?:any}[]} */ ([]));
export const theme = signal(readTheme());
/** Why there is nobody signed in, when that is worth saying. */
export const signedOutBecause = signal('');

/** Milliseconds that the server's clock is ahead of this browser's. */
export const clockSkew = signal(0);
export const serverNow = () => Date.now() + clockSkew.value;

export const list = computed(() => (streams.value ? [...streams.value.values()].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })) : null));
export const mayChange = computed(() => !session.value || !['viewer', 'worker', 'producer'].includes(session.value.role));

let events = null;
let timers = [];
let bestHalf = Infinity;
const losses = new Map();

/** Says what just happened; act: [words, what to do], a next step. */
export function toast(text, tone = 'ok', ms = 6000, act = null) {
  const id = Math.random();
  toasts.value = [...toasts.value.slice(-3), { id, text, tone, act }];
  setTimeout(() => { toasts.value = toasts.value.filter((t) => t.id !== id); }, ms);
}

/** Words of an error and its next step, for a toast or a card. */
export const words = (err) => (err.hint ? `${err.message}. ${err.hint[0].toUpperCase()}${err.hint.slice(1)}` : err.message);

function readTheme() {
  try { return localStorage.getItem('penstock.theme') || 'system'; } catch { return 'system'; }
}

export function setTheme(t) {
  theme.value = t;
  try { if (t === 'system') localStorage.removeItem('penstock.theme'); else localStorage.setItem('penstock.theme', t); } catch { /* storage is off: this page only */ }
  applyTheme();
}

function applyTheme() {
  const light = theme.value === 'system' ? matchMedia('(prefers-color-scheme: light)').matches : theme.value === 'light';
  document.documentElement.dataset.theme = light ? 'light' : 'dark';
  document.querySelector('meta[name=theme-color]')?.setAttribute('content', light ? '#f4f6f8' : '#0e1318');
}

/** Finds out who is signed in, redeeming a one-time link of the address first. */
export async function start() {
  matchMedia('(prefers-color-scheme: light)').addEventListener('change', applyTheme);
  applyTheme();
  setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 1000);
  addEventListener('hashchange', () => { const l = takeLink(); if (l) redeem(l); });
  const link = takeLink();
  if (link) return redeem(link);
  await whoami();
}

async function redeem(link) {
  try {
    enter(await api.post('v1/session', { link }, { quiet: true }));
  } catch (err) {
    signedOutBecause.value = err.status ? 'That link has been used or is too old: each works once. A new one comes with penstock link, on the server.' : '';
    await whoami();
  }
}

async function whoami() {
  try {
    const s = await (await api.request('GET', 'v1/session', { quiet: true })).json();
    enter(s);
  } catch (err) {
    if (err.status === 401 || err.status === 403) session.value = null;
    else if (err.status) { session.value = null; signedOutBecause.value = words(err); }
  }
}

export async function signIn(password) {
  enter(await api.post('v1/session', { password }, { quiet: true }));
}

export async function signOut() {
  try { await api.remove('v1/session'); } catch (err) { if (err.status !== 401) return toast(words(err), 'bad'); }
  leave('');
}

function enter(s) {
  api.setCSRF(s.csrf);
  batch(() => { session.value = s; signedOutBecause.value = ''; });
  refresh();
  listen();
  timers.forEach(clearInterval);
  timers = [
    setInterval(() => { if (!document.hidden && !outage.value) refreshStreams(); }, 10000),
    setInterval(() => { if (!document.hidden && !outage.value) refreshSystem(); }, 30000),
  ];
}

function leave(why) {
  api.setCSRF('');
  events?.close();
  events = null;
  timers.forEach(clearInterval);
  batch(() => { session.value = null; streams.value = null; system.value = null; signedOutBecause.value = why; });
}

export const refresh = () => Promise.all([refreshStreams(), refreshSystem()]);

export async function refreshStreams() {
  try {
    const found = await api.listStreams();
    batch(() => { streams.value = new Map(found.map((s) => [s.name, note(s)])); streamsError.value = null; });
  } catch (err) {
    if (err.status !== 401 && !(err.status === 0 && streams.value)) streamsError.value = err;
  }
}

export async function refreshSystem() {
  try {
    const sent = Date.now();
    const s = await api.get('v1/system');
    const half = (Date.now() - sent) / 2;
    system.value = s;
    // Uptime has more digits than any date header: it tells the server's clock. The
    // quickest answer tells it best, and a difference that its way explains is none.
    if (s.started && s.uptime_s && half < bestHalf * 1.2) {
      bestHalf = half;
      const skew = instant(s.started) + s.uptime_s * 1000 - (sent + half);
      clockSkew.value = Math.abs(skew) <= half + 20 ? 0 : skew;
    }
  } catch { /* may not be read by every role; the pages do without */ }
}

/** Remembers how a stream's losses grow, and says so on the stream. */
function note(s) {
  const t = Date.now();
  const past = (losses.get(s.name) || []).filter((p) => t - p.t < 60000);
  const least = past.length ? Math.min(past[0].n, s.lost || 0) : s.lost || 0;
  losses.set(s.name, [...past, { t, n: s.lost || 0 }]);
  return { ...s, lostLately: (s.lost || 0) - least };
}

export function put(s) {
  if (!streams.value) return;
  const next = new Map(streams.value);
  next.set(s.name, note(s));
  streams.value = next;
}

export function drop(name) {
  if (!streams.value?.has(name)) return;
  const next = new Map(streams.value);
  next.delete(name);
  streams.value = next;
}

function listen() {
  events?.close();
  const es = new EventSource(api.address('v1/events'));
  events = es;
  let first = true;
  const data = (e) => { try { return JSON.parse(e.data); } catch { return null; } };
  es.addEventListener('stream', (e) => { const s = data(e); if (s) put(s); });
  es.addEventListener('deleted', (e) => { const s = data(e); if (s) drop(s.name); });
  es.addEventListener('mark', (e) => { const mark = data(e); if (mark) told.value = { mark }; });
  es.addEventListener('unmark', (e) => { const unmark = data(e); if (unmark) told.value = { unmark }; });
  es.onopen = () => { api.hooks.reached(); if (!first) { refreshStreams(); told.value = { again: true }; } first = false; };
  es.onerror = () => {
    if (es !== events || es.readyState !== EventSource.CLOSED) return;
    setTimeout(() => { if (es === events && session.value) listen(); }, 5000);
  };
}

// While the server is away one loop asks for it; all else waits for that.
api.hooks.unreachable = () => {
  if (outage.value) return;
  outage.value = { since: Date.now(), next: Date.now() + 1000 };
  knock(1000);
};
api.hooks.reached = () => { if (outage.value) { outage.value = null; back(); } };
api.hooks.unauthorized = () => { if (session.value) leave('You were signed out. Sign in again to go on.'); };

function knock(wait) {
  setTimeout(async () => {
    if (!outage.value) return;
    try {
      const res = await fetch(api.address('livez'), { cache: 'no-store' });
      if (res.ok) return api.hooks.reached();
    } catch { /* still away */ }
    const later = Math.min(wait * 1.6, 8000);
    outage.value = { ...outage.value, next: Date.now() + later };
    knock(later);
  }, wait);
}

async function back() {
  if (session.value === undefined) return whoami();
  if (session.value) { await refresh(); listen(); told.value = { again: true }; }
}
