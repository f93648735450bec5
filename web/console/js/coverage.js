// What is recorded and what is missing, asked of the server in windows a little wider
// than what is seen, and asked again while it grows.
import { signal } from './lib.js';
import { get, stream, iso } from './api.js';
import { instant } from './format.js';

const why = (g) => [g.reason === 'unknown' ? '' : g.reason, g.detail].filter(Boolean).join(': ') || 'no reason is known';

/** @typedef {{start:number,end:number,bytes:number,fragments:number}} Span @typedef {{start:number,end:number,reason:string}} Gap */

const empty = { from: 0, to: 0, spans: /** @type {Span[]} */ ([]), gaps: /** @type {Gap[]} */ ([]), step: 0, at: 0, heard: Infinity };

/** Reads a timeline answer. */
export function read(a, from, to, step) {
  const spans = (a.spans || []).map((s) => ({ start: instant(s.start), end: instant(s.end), bytes: s.bytes || 0, fragments: s.fragments || 0 }));
  const gaps = (a.gaps || []).map((g) => ({ start: instant(g.start), end: instant(g.end), reason: why(g) }));
  return { from, to, spans, gaps, step, at: Date.now() };
}

/** Asks for a window; told hears of the events in it, without it they are left out. */
export async function fetchCoverage(name, from, to, step, told) {
  const asked = Date.now();
  const a = await get(stream(name, '/timeline'), { start: iso(from), end: iso(to), resolution: `${Math.max(1, Math.ceil(step / 1000))}s`, events: told ? undefined : false });
  told?.(a.events || [], from, to, asked, !a.events_more);
  return read(a, from, to, step);
}

/**
 * Gaps of a stretch that is drawn too coarsely to show them all: those of two seconds and
 * more in a day, and in proportion in longer stretches.
 */
export class Gaps {
  constructor(name) {
    this.name = name;
    this.data = signal(/** @type {{from:number,to:number,gaps:Gap[],spans:Span[],least:number,at:number}|null} */ (null));
  }

  want(from, to) {
    const d = this.data.value;
    const same = d && Math.abs(d.from - from) < (to - from) / 100 && Math.abs(d.to - to) < (to - from) / 100;
    if (this.busy || Date.now() - (this.asked || 0) < (same || !d ? 10000 : 500)) return;
    if (same && d.to < d.at - 60e3) return; // the past stays as it was
    this.busy = true;
    this.asked = Date.now();
    const least = Math.max(2000, Math.round((to - from) / 864e5) * 2000);
    fetchCoverage(this.name, from, Math.min(to, Date.now() + 1000), least)
      .then((r) => { this.data.value = { from, to, gaps: r.gaps, least, at: Date.now(), spans: r.spans }; }, () => {})
      .finally(() => { this.busy = false; });
  }
}

/** Keeps one window's coverage up to date. */
export class Coverage {
  constructor(name, told) {
    this.name = name;
    this.told = told;
    this.data = signal(empty);
    this.error = signal(/** @type {any} */ (null));
    this.asked = '';
  }

  /** Says what is seen; asks the server when that is not at hand at this grain. */
  want(from, to, pixels) {
    const d = this.data.value;
    const step = Math.max(1000, (to - from) / pixels);
    const nowMS = Date.now();
    const fine = d.step && d.step <= step * 2.1 && d.step >= step / 4.2;
    const inside = d.from <= from && (d.to >= to || d.to >= nowMS);
    const grows = to > d.at - 15000 && nowMS - d.at > Math.max(2500, step * 2);
    if (fine && inside && !grows) return;
    if (this.busy) { this.again = [from, to, pixels]; return; }
    if (this.failed && nowMS - this.failed < 3000) return;
    const margin = (to - from) * 0.6;
    const a = Math.floor((from - margin) / 1000) * 1000;
    const b = Math.ceil(Math.min(to + margin, nowMS + 60e3) / 1000) * 1000;
    if (b <= a) return;
    this.busy = true;
    // While only its end grows, the server tells of events by itself.
    const told = fine && inside && a >= d.heard ? undefined : this.told;
    fetchCoverage(this.name, a, b, step, told).then((r) => ({ ...r, heard: told ? a : d.heard })).then((r) => { this.data.value = r; this.error.value = null; this.failed = 0; }, (err) => { this.error.value = err; this.failed = Date.now(); }).finally(() => {
      this.busy = false;
      const next = this.again;
      this.again = null;
      if (next) this.want(...next);
    });
  }

  /** Has the server asked anew: it may have told of changes that nobody here heard. */
  stale() { this.data.value = { ...this.data.value, step: 0 }; }

  gapAt(t) { return this.data.value.gaps.find((g) => g.start <= t && t < g.end) || null; }
  spanAt(t) { return this.data.value.spans.find((s) => s.start <= t && t < s.end) || null; }

  /** How much of a window is recorded, and what it weighs, as far as is known. */
  sum(from, to) {
    let ms = 0;
    let bytes = 0;
    for (const s of this.data.value.spans) {
      const a = Math.max(s.start, from);
      const b = Math.min(s.end, to);
      if (b > a) { ms += b - a; bytes += (s.bytes * (b - a)) / (s.end - s.start || 1); }
    }
    return { ms, bytes, gaps: this.data.value.gaps.filter((g) => g.end > from && g.start < to) };
  }
}
