// The list of fragments around an instant, fetched in pages of two minutes and kept.
import { get, stream, iso } from '../api.js';
import { instant } from '../format.js';

/** @typedef {{number:string, start:number, end:number, bytes:number, gap:string, run:number}} Head  times in ms */

const PAGE = 120e3;
const FRESH = 1500; // ms that a page that may still grow is believed
const MOST = 200; // pages kept

/** @returns {Head} */
function head(h) {
  const start = instant(h.start ?? h.server_time);
  const end = h.end ? instant(h.end) : start + (typeof h.duration === 'number' ? h.duration * 1000 : 0);
  return { number: String(h.number), start, end, bytes: h.bytes || h.size || 0, gap: h.gap || '', run: h.run || 0 };
}

export class Heads {
  constructor(name) {
    this.name = name;
    this.pages = new Map();
  }

  async ask(query, signal) {
    const list = [];
    let next;
    do {
      const a = await get(stream(this.name, '/fragments'), { ...query, next }, signal);
      list.push(...(a.fragments || []).map(head));
      next = query.limit && list.length >= query.limit ? '' : a.next;
    } while (next);
    return list.sort((a, b) => a.start - b.start);
  }

  /** @returns {Promise<Head[]>} the heads that overlap the page of t */
  page(t, signal) {
    const k = Math.floor(t / PAGE);
    const old = this.pages.get(k);
    if (old && (old.final || performance.now() - old.at < FRESH)) return old.heads;
    const final = (k + 1) * PAGE < Date.now() - 60e3;
    const heads = this.ask({ start: iso(k * PAGE), end: iso((k + 1) * PAGE) }, signal);
    const entry = { heads, final, at: performance.now() };
    this.pages.set(k, entry);
    if (this.pages.size > MOST) this.pages.delete(this.pages.keys().next().value);
    heads.catch(() => { if (this.pages.get(k) === entry) this.pages.delete(k); });
    return heads;
  }

  /** The fragment that holds t, or null. */
  async at(t, signal) {
    const heads = await this.page(t, signal);
    for (let i = heads.length - 1; i >= 0; i--) if (heads[i].start <= t && t < heads[i].end) return heads[i];
    return null;
  }

  /** The first fragment that starts after t, however long the gap; null at the end. */
  async after(t, signal) {
    const near = (await this.page(t, signal)).find((h) => h.start > t);
    if (near) return near;
    const from = (Math.floor(t / PAGE) + 1) * PAGE;
    if (from > Date.now() + 5000) return null;
    const beside = (await this.page(from, signal)).find((h) => h.start > t);
    if (beside) return beside;
    if (from + PAGE > Date.now() + 5000) return null;
    const far = await this.ask({ start: iso(from + PAGE), end: iso(Date.now() + 60e3), limit: 2 }, signal);
    return far.find((h) => h.start > t) || null;
  }

  /** The last fragment that ends at or before t, looking two pages back; null otherwise. */
  async before(t, signal) {
    for (const at of [t, t - PAGE]) {
      const heads = (await this.page(at, signal)).filter((h) => h.end <= t + 1);
      if (heads.length) return heads[heads.length - 1];
    }
    return null;
  }
}
