// Plays a recording in a video element. Each fragment is fetched by its number and put at
// its own place in media time, so a seek costs one fragment and a gap stays a gap.
import { media, stream } from '../api.js';
import { Buffer, supported } from './mse.js';
import { prepare, timing } from './fmp4.js';
import { Heads } from './heads.js';

const SPAN = 30 * 86400; // seconds of media time that one source covers, the seek in its middle
const AHEAD = 10; // seconds fetched ahead at normal speed
const BEHIND = 30;
const JOIN = 0.12; // fragments of one run this close are one line: clocks differ by less
const cache = new Map(); // fragments of late, by address
const CACHE = 24e6;

export class Recorded {
  /**
   * @param {HTMLVideoElement} video @param {string} name
   * @param {{onstate?:(s:any)=>void, onsilent?:(codec:string)=>void}} o
   */
  constructor(video, name, o = {}) {
    this.video = video;
    this.name = name;
    this.o = o;
    this.heads = new Heads(name);
    this.put = []; // {head, m0, m1, offset}
    this.playing = false;
    this.rate = 1;
    this.frame = 0.04;
    this.target = NaN; // server time being sought
    this.blank = NaN; // server time shown where nothing is recorded
    this.turn = 0;
    this.timer = setInterval(() => this.tick(), 100);
    this.onwait = () => this.tick();
    video.addEventListener('waiting', this.onwait);
  }

  say(kind, more = {}) { if (!this.closed) this.o.onstate?.({ kind, ...more }); }

  /** Server time, in ms, of the picture shown now (or sought). */
  get time() {
    if (Number.isFinite(this.target)) return this.target;
    if (Number.isFinite(this.blank)) return this.blank;
    return this.serverAt(this.video.currentTime);
  }

  serverAt(m) {
    const p = this.putAt(m) || this.put.filter((x) => x.m0 <= m).pop() || this.put[0];
    if (!p) return NaN;
    return p.head.start + ((m - p.m0) / (p.m1 - p.m0)) * (p.head.end - p.head.start);
  }

  mediaAt(p, t) { return p.m0 + ((t - p.head.start) / (p.head.end - p.head.start)) * (p.m1 - p.m0); }
  putAt(m) { return this.put.find((p) => p.m0 - 0.002 <= m && m < p.m1); }

  /** Shows the picture of t; the newest of many calls wins, each costs one fragment at most. */
  async seek(t) {
    this.target = t;
    if (this.seeking) return this.seeking;
    this.seeking = (async () => {
      let done = NaN;
      while (Number.isFinite(this.target) && this.target !== done && !this.closed) {
        done = this.target;
        try { done = await this.show(done); } catch (err) {
          if (err.name !== 'AbortError') this.say('error', { error: err });
          break;
        }
      }
      this.target = NaN;
      this.seeking = null;
      this.fill();
    })();
    return this.seeking;
  }

  async show(t) {
    const asked = t;
    this.turn++;
    this.blank = NaN;
    this.say('loading');
    let head = await this.heads.at(t);
    if (!head) {
      const next = await this.heads.after(t);
      const last = await this.heads.before(t);
      if (next && this.playing) { this.say('gap', { start: last?.end, end: next.start, reason: next.gap }); head = next; t = next.start; }
      else if (next && next.start - t < 300) { head = next; t = next.start; }
      else if (last && t - last.end < 15000 && !next) { head = last; t = last.end - 50; }
      else { this.blank = t; this.video.pause(); this.say('nothing', { at: t, start: last?.end, end: next?.start, reason: next?.gap, ended: !next }); return asked; }
      if (this.target === asked) this.target = t;
    }
    const p = await this.place(head, true);
    if (!p || this.closed) return t;
    const m = Math.min(Math.max(this.mediaAt(p, t), p.m0), p.m1 - this.frame * 0.5) + 0.001;
    this.video.currentTime = m;
    await this.painted();
    this.say('playing');
    if (this.playing) this.video.play().catch(() => {});
    return t;
  }

  painted() {
    const v = this.video;
    if (!v.seeking && v.readyState >= 2) return Promise.resolve();
    return new Promise((done) => {
      const end = () => { clearTimeout(t); v.removeEventListener('seeked', end); done(undefined); };
      const t = setTimeout(end, 2500);
      v.addEventListener('seeked', end);
    });
  }

  /** Puts a fragment into the buffer; anew allows starting a fresh source for it. */
  async place(head, anew) {
    const there = this.put.find((p) => p.head.number === head.number);
    if (there) return there;
    const data = (await fragment(this.name, head.number)).slice();
    if (this.closed) return null;
    const plan = prepare(data, supported);
    if (!plan.ok || !plan.clock) { this.say('unplayable', { mime: plan.mime }); return null; }
    const t = timing(data, plan.clock);
    if (!t) throw new Error(`fragment ${head.number} holds no media`);
    const outside = !this.buffer || Math.abs(head.start / 1000 - this.base - SPAN / 2) > SPAN / 2 - 7200;
    if (outside || this.shape !== plan.shape) {
      if (!anew) { this.stopAt = head.start; return null; }
      this.fresh(head.start / 1000 - SPAN / 2, plan.shape);
    }
    if (plan.muted) this.o.onsilent?.(plan.muted);
    const buffer = /** @type {Buffer} */ (this.buffer);
    await buffer.type(plan.mime, SPAN);
    let offset = head.start / 1000 - this.base - t.start;
    const prev = this.put.find((p) => p.head.end <= head.start + 200 && head.start - p.head.end < 500 && p.head.run === head.run);
    // Within a run the camera's own spacing is truer than our clock's: stay on its line.
    if (prev && Math.abs(prev.offset - offset) < JOIN && Math.abs(prev.m1 - (t.start + prev.offset)) < JOIN) offset = prev.offset;
    await buffer.append(data, offset);
    if (t.frame) this.frame = t.frame;
    const p = { head, m0: t.start + offset, m1: t.end + offset, offset };
    this.put.push(p);
    this.put.sort((a, b) => a.m0 - b.m0);
    return p;
  }

  fresh(base, shape) {
    this.buffer?.close();
    this.put = [];
    this.base = Math.floor(base);
    this.shape = shape;
    this.stopAt = NaN;
    const b = new Buffer(this.video);
    b.onerror = (err) => { if (b === this.buffer && err.name !== 'AbortError') { this.buffer = null; this.put = []; this.say('error', { error: err }); } };
    this.buffer = b;
    this.video.playbackRate = this.rate;
  }

  /** Fetches what will be needed next, one fragment after another. */
  async fill() {
    if (this.filling || this.closed || !this.buffer || Number.isFinite(this.blank)) return;
    this.filling = true;
    const turn = this.turn;
    try {
      while (!this.closed && turn === this.turn && !this.seeking) {
        const m = this.video.currentTime;
        let p = this.putAt(m) || this.put.filter((x) => x.m0 <= m).pop();
        if (!p) break;
        for (let n = p; n; n = this.put.find((x) => x.m0 > n.m0 && x.m0 - n.m1 < JOIN)) p = n;
        if (p.m1 - m > AHEAD * Math.max(1, this.rate) || Number.isFinite(this.stopAt)) break;
        const next = await this.heads.after(p.head.start);
        if (turn !== this.turn || this.closed) break;
        this.ended = !next;
        if (!next || !(await this.place(next, false))) break;
        if (next.start - p.head.end > 500 && next.start - p.head.end > AHEAD * 1000) break;
      }
      this.trim();
    } catch (err) {
      if (err.name !== 'AbortError' && err.status !== 0) this.say('error', { error: err });
    } finally { this.filling = false; }
  }

  trim() {
    const m = this.video.currentTime;
    const old = this.put.filter((p) => p.m1 < m - BEHIND || p.m0 > m + 120 * Math.max(1, this.rate));
    for (const p of old) this.buffer?.remove(p.m0, p.m1).catch(() => {});
    if (old.length) this.put = this.put.filter((p) => !old.includes(p));
  }

  tick() {
    if (this.closed || this.seeking || !this.buffer || Number.isFinite(this.blank)) return;
    const v = this.video;
    const m = v.currentTime;
    if (Number.isFinite(this.stopAt) && this.playing && this.serverAt(m) >= this.stopAt - 300) { const t = this.stopAt; this.stopAt = NaN; this.seek(t); return; }
    // A browser out of media stands still up to a few frames before its end.
    const slack = v.readyState < 3 ? Math.max(0.12, this.frame * 2) : 0.005;
    const cur = this.buffer.ranges().find(([a, b]) => a - 0.05 <= m && m < b - slack);
    if (this.playing && !cur) {
      const next = this.buffer.ranges().find(([a]) => a > m);
      if (next) {
        const last = this.serverAt(m);
        const p = this.putAt(next[0] + 0.001);
        if (p && p.head.start - last > 700) this.say('gap', { start: last, end: p.head.start, reason: p.head.gap });
        v.currentTime = next[0] + 0.001;
      } else if (this.ended) this.say('edge');
    } else if (cur && v.readyState >= 2) this.say('playing');
    if (this.playing && v.paused && !v.ended) v.play().catch(() => {});
    if (!this.last || performance.now() - this.last > 400) { this.last = performance.now(); this.fill(); }
  }

  play() { this.playing = true; this.video.play().catch(() => {}); this.tick(); }
  pause() { this.playing = false; this.video.pause(); }
  speed(r) { this.rate = r; this.video.playbackRate = r; this.fill(); }

  /** One frame on or back, paused. */
  step(n) {
    this.pause();
    const m = this.video.currentTime + n * this.frame;
    if (this.buffer?.ranges().some(([a, b]) => a <= m && m < b)) this.video.currentTime = m;
    else this.seek(this.time + n * this.frame * 1000);
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.video.removeEventListener('waiting', this.onwait);
    this.buffer?.close();
    this.video.playbackRate = 1;
  }
}

/** Bytes of one fragment, from the last ones seen when it is among them. */
async function fragment(name, number) {
  const path = stream(name, `/fragments/${number}.mp4`);
  const had = cache.get(path);
  if (had) { cache.delete(path); cache.set(path, had); return had; }
  const data = await media(path);
  cache.set(path, data);
  let sum = 0;
  for (const d of cache.values()) sum += d.length;
  for (const k of cache.keys()) { if (sum <= CACHE || cache.size < 3) break; sum -= cache.get(k).length; cache.delete(k); }
  return data;
}
