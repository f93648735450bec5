// Plays one live stream in a video element: parts from the socket into MSE, held close
// to the newest picture by seeking when far behind and a little speed when near.
import { Buffer, Source, supported } from './mse.js';
import { prepare, timing } from './fmp4.js';
import { subscribe } from './socket.js';

const KEEP = 12; // seconds of media kept behind the picture
const QUEUE = 400; // parts waiting for a slow decoder before we start anew

export class Live {
  /**
   * @param {HTMLVideoElement} video @param {string} name
   * @param {{audio?:boolean, onstate?:(s:{kind:string, text?:string})=>void, onskip?:(n:number)=>void, onsilent?:(codec:string)=>void, onrestart?:()=>void}} o
   */
  constructor(video, name, o = {}) {
    this.video = video;
    this.o = o;
    this.held = false; // paused by someone: stay
    this.started = false;
    this.spacing = 0.2; // the longest usual wait between parts, seconds
    this.marks = []; // {media, server}: media time of a part and its server time, seconds
    this.waiting = [];
    this.timer = setInterval(() => this.steer(), 200);
    this.say('loading');
    this.end = subscribe(name, !!o.audio, {
      init: (m, data) => { if (data) this.init(data); },
      part: (data, us, sync) => this.part(data, us / 1e6, sync),
      state: (m) => this.state(m),
      skipped: (n) => { this.holes = true; o.onskip?.(n); },
      error: (text) => this.say('error', text),
    });
  }

  say(kind, text) {
    const key = `${kind} ${text || ''}`;
    if (key === this.said || this.closed) return;
    this.said = key;
    this.o.onstate?.({ kind, text });
  }

  state(m) {
    if (m.status === 'reconnecting') { this.broken = true; this.say('loading', 'Connection lost, trying again'); }
    else if (m.status && m.status !== 'live') this.say('waiting', m.reason || '');
  }

  async init(data) {
    const copy = data.slice();
    const plan = prepare(copy, supported);
    if (!plan.ok || !plan.clock) return this.say('unplayable', plan.mime);
    const anew = !this.buffer || this.broken || this.plan?.shape !== plan.shape;
    this.plan = plan;
    this.broken = false;
    if (anew) this.fresh();
    const buffer = /** @type {Buffer} */ (this.buffer);
    this.waiting = [];
    this.offset = NaN;
    if (plan.muted) this.o.onsilent?.(plan.muted);
    try {
      await buffer.type(plan.mime);
      if (buffer.dead) return;
      buffer.append(copy).catch(() => {});
      this.ready = true;
      for (const [d, at] of this.waiting.splice(0)) this.feed(d, at);
    } catch (err) { if (err.name !== 'AbortError') this.fail(err); }
  }

  fresh() {
    this.buffer?.close();
    this.ready = false;
    this.started = false;
    this.marks = [];
    this.tail = 0;
    const b = new Buffer(this.video);
    b.onerror = (err) => { if (b === this.buffer && err.name !== 'AbortError') this.fail(err); };
    this.buffer = b;
  }

  fail(err) {
    this.faults = (this.faults || 0) + 1;
    this.broken = true;
    this.ready = false;
    if (this.faults > 3) return this.say('error', `This browser stopped playing: ${err.message || err}`);
    this.o.onrestart?.();
  }

  part(data, at, sync) {
    if (!this.plan) return;
    if (!this.ready) { if (sync || this.waiting.length) this.waiting.push([data.slice(), at]); if (this.waiting.length > QUEUE) this.waiting = []; return; }
    this.feed(data, at);
  }

  feed(data, at) {
    const t = timing(data, this.plan.clock);
    if (t) {
      // A new run, or a sender that came back, goes on where the last one ended.
      if (Number.isNaN(this.offset)) this.offset = (this.tail || 1) - t.start;
      this.tail = t.end + this.offset;
      this.marks.push({ media: t.start + this.offset, server: at });
      if (this.marks.length > 600) this.marks.splice(0, 300);
      if (t.frame) this.frame = t.frame;
      const wall = performance.now() / 1000;
      if (this.heard) this.spacing = Math.max(this.spacing * 0.98, Math.min(wall - this.heard, 2));
      this.heard = wall;
    }
    const b = /** @type {Buffer} */ (this.buffer);
    if (b.jobs.length > QUEUE) { this.fresh(); this.say('loading', 'Too slow, starting anew'); this.o.onrestart?.(); return; }
    b.append(data, this.offset).catch(() => {});
  }

  /** Seconds of newest media kept in hand, so that the next part comes in time. */
  get reserve() { return Math.min(2, Math.max(0.12, this.spacing * 1.4)); }

  steer() {
    const b = this.buffer;
    if (!b || !this.ready) return;
    const r = b.ranges();
    if (!r.length) return;
    const [from, edge] = r[r.length - 1];
    const v = this.video;
    if (!this.started) {
      if (edge - from < 0.05) return;
      v.currentTime = Math.max(from, edge - this.reserve);
      this.started = true;
      v.play().catch(() => {});
    }
    if (v.readyState >= 2) this.say('playing');
    if (v.paused) { if (!this.held) v.play().catch(() => {}); return; }
    const behind = edge - v.currentTime;
    if (v.currentTime < from || behind > this.reserve + 2.5 || behind < -0.5) v.currentTime = Math.max(from, edge - this.reserve);
    else v.playbackRate = behind > this.reserve + 1 ? 1.25 : behind > this.reserve + 0.25 ? 1.08 : behind < this.reserve * 0.4 ? 0.95 : 1;
    if (performance.now() / 1000 - (this.heard || 0) > 4 && v.readyState < 3) this.say('waiting', '');
    if (v.currentTime - r[0][0] > KEEP * 2) b.remove(0, v.currentTime - KEEP).catch(() => {});
  }

  /** Server time, in ms, of the picture shown now; NaN before there is one. */
  get time() {
    const t = this.video.currentTime;
    if (!this.started) return NaN;
    let m = null;
    for (let i = this.marks.length - 1; i >= 0 && !m; i--) if (this.marks[i].media <= t + 0.001) m = this.marks[i];
    m = m || this.marks[0];
    return m ? (m.server + (t - m.media)) * 1000 : NaN;
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.end();
    this.buffer?.close();
    this.video.playbackRate = 1;
  }
}

export const canLive = () => !!Source;
