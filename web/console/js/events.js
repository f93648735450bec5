// What happened on a stream: events as the timeline's answers bring them, and as the
// server tells of them while someone looks.
import { signal } from './lib.js';
import { get, post, patch, remove, stream as path, iso } from './api.js';
import { session, mayChange, serverNow } from './store.js';
import { instant, duration, day, kept, span } from './format.js';

const MOST = 4000; // that a page holds; older ones come again when they are looked at

/**
 * @typedef {{id:string, kind:string, label:string, start:number, end:number, open:boolean, keep:string,
 *   keptFrom:number, keptTo:number, keptUntil:number, before:number, by:string, data:any}} Event_
 */

/** Reads an event of the API. An open one has no end: NaN. @returns {Event_} */
export function readEvent(e) {
  const data = e.data && Object.keys(e.data).length ? e.data : null;
  return { id: e.id, kind: e.kind || '', label: e.label || '', start: instant(e.start), end: e.open ? NaN : instant(e.end), open: !!e.open, keep: e.keep || '', keptFrom: instant(e.kept_from), keptTo: instant(e.kept_to), keptUntil: instant(e.kept_until), before: duration(e.before) || 0, by: e.by || '', data };
}

const WORDS = { mark: 'Mark', recording: 'Recorded event' };
/** What an event is called. */
export const word = (e) => e.label || WORDS[e.kind] || e.kind;

/** The end, which moves while the event goes on. */
export const ends = (e, now = serverNow()) => (e.open ? Math.max(now, e.start) : e.end);

/** Where playing it begins: a little earlier than it does. */
export const playFrom = (e) => e.start - Math.min(10000, Math.max(3000, e.before));

/** Its length in words; nothing for an instant. */
export const length = (e, now) => (e.open ? `${span(Math.max(0, ends(e, now) - e.start))} so far` : e.end - e.start >= 500 ? span(e.end - e.start) : '');

export const isKept = (e, now = serverNow()) => !!e.keep && !(e.keptUntil < now);
export function keptWords(e, now = serverNow()) {
  if (!e.keep) return '';
  if (e.keep === 'forever') return 'kept for ever';
  if (!Number.isFinite(e.keptUntil)) return `kept for ${kept(e.keep)}`;
  return e.keptUntil < now ? `was kept until ${day(e.keptUntil)}` : `kept until ${day(e.keptUntil)}`;
}

/** Whether who is signed in may mark: a worker marks what it finds. */
export const mayMark = () => mayChange.value || session.value?.role === 'worker';

export const addEvent = (name, body) => post(path(name, '/events'), body).then(readEvent);
export const changeEvent = (name, id, body) => patch(path(name, `/events/${encodeURIComponent(id)}`), body).then(readEvent);
export const dropEvent = (name, id) => remove(path(name, `/events/${encodeURIComponent(id)}`));
export async function listEvents(name, query, signal) {
  const a = await get(path(name, '/events'), query, signal);
  return { events: (a.events || []).map(readEvent), next: a.next || '' };
}

/** The events that began before an instant, newest first; next: what goes on from there, '' when there are none. */
export const olderEvents = (name, to, { kind = '', next = '', limit = 50, signal = undefined } = {}) => listEvents(name, { order: 'desc', end: iso(to), kind, next, limit }, signal);

const order = (a, b) => a.start - b.start || (a.id < b.id ? -1 : 1);

/** The events of one stream that are known here, oldest first. */
export class Events {
  constructor(name) {
    this.name = name;
    this.all = signal(/** @type {Event_[]} */ ([]));
    this.more = signal(false); // the upper bar's stretch has more than the server told
    this.known = new Map();
    this.due = /** @type {any} */ (undefined);
    this.touched = new Map(); // id -> when the server told of it, or of its end
    this.found = new Map(); // id -> when an answer had it first, of those that came since this began
    this.began = Date.now();
  }

  /** Takes what a timeline answer says of its stretch; asked: when it was asked for. */
  feed(list, from, to, asked, whole) {
    const seen = new Set();
    const older = (id) => (this.touched.get(id) || 0) > asked;
    for (const raw of list) {
      seen.add(raw.id);
      if (!this.known.has(raw.id) && Date.now() - this.began > 5000) this.found.set(raw.id, Date.now());
      if (!older(raw.id)) this.known.set(raw.id, readEvent(raw));
    }
    for (const [id, e] of this.known) {
      if (whole && !seen.has(id) && !older(id) && e.start < to && (e.start >= from || ends(e) > from)) this.known.delete(id);
    }
    for (const m of [this.touched, this.found]) for (const [id, t] of m) if (t < asked - 60e3) m.delete(id);
    this.tell();
  }

  /** Takes what the server tells of: an event that is new or changed. Says whether it is new: an answer may have had it a moment before. */
  mark(e) {
    const fresh = !this.known.has(e.id) || (!this.touched.has(e.id) && Date.now() - (this.found.get(e.id) || 0) < 10e3);
    this.touched.set(e.id, Date.now());
    this.known.set(e.id, e);
    this.soon();
    return fresh;
  }

  unmark(id) {
    this.touched.set(id, Date.now());
    if (this.known.delete(id)) this.soon();
  }

  /** Tells in a moment: a program may find a hundred things a second. */
  soon() { this.due ||= setTimeout(() => this.tell(), 120); }

  tell() {
    clearTimeout(this.due);
    this.due = undefined;
    let all = [...this.known.values()].sort(order);
    if (all.length > MOST) {
      all = all.filter((e, i) => e.open || i >= all.length - MOST);
      this.known = new Map(all.map((e) => [e.id, e]));
    }
    this.all.value = all;
  }

  /** Those that overlap a stretch. */
  within(from, to) { return this.all.value.filter((e) => e.start < to && ends(e) >= from); }

  /**
   * The next event from an instant, or the one before. last: the one that was gone to
   * just now, from which it goes on.
   */
  async step(t, back, last) {
    const all = this.all.value;
    const at = last ? all.findIndex((e) => e.id === last.id) : -1;
    const near = at >= 0 ? all[at + (back ? -1 : 1)] : back ? all.findLast((e) => playFrom(e) < t - 2000) : all.find((e) => playFrom(e) > t + 500);
    if (near) return near;
    const from = last ? last.start : t;
    if (back) return (await olderEvents(this.name, from, { limit: 5 })).events.find((e) => e.id !== last?.id) || null;
    const { events } = await listEvents(this.name, { start: iso(from + 1), limit: 5 });
    return events.find((e) => e.start > from && e.id !== last?.id) || null;
  }
}
