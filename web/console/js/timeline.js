// The timeline's behaviour on a canvas: what part of time is seen, and what pointers,
// wheels and fingers do to it. It tells its owner what was asked for and decides nothing
// about playing.
import { draw, layout } from './timelinedraw.js';
import { choose, eventAt, hint, zone } from './timelinehits.js';
import { colours } from './colours.js';
import { LEAST, MOST } from './timescale.js';
import { startOfDay, nextDay } from './format.js';

const DAY = 864e5;

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{detail:any, overview:any, events:any, pick:(list:any[])=>void, now:()=>number, scrub:(t:number)=>void, scrubEnd:(t:number)=>void,
   *   select:(s:{from:number,to:number}|null)=>void, hover:(h:any)=>void, moved?:()=>void}} o
   */
  constructor(canvas, o) {
    this.canvas = canvas;
    this.o = o;
    this.ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.coarse = matchMedia('(pointer: coarse)').matches || innerWidth < 760;
    const now = o.now();
    this.view = { from: now - 564e3, to: now + 36e3 };
    this.span = DAY; // of the overview
    this.over = { from: now - DAY, to: now };
    this.playhead = NaN;
    this.live = true;
    this.follow = true;
    this.selection = /** @type {{from:number,to:number}|null} */ (null);
    this.selecting = false;
    this.hoverX = /** @type {number|null} */ (null);
    this.pointers = new Map();
    this.c = colours();
    this.ends = [];
    const on = (el, type, f, opt) => { el.addEventListener(type, f, opt); this.ends.push(() => el.removeEventListener(type, f, opt)); };
    on(canvas, 'pointerdown', (e) => this.down(e));
    on(canvas, 'pointermove', (e) => this.move(e));
    on(canvas, 'pointerup', (e) => this.up(e));
    on(canvas, 'pointercancel', (e) => this.up(e));
    on(canvas, 'pointerleave', () => this.leave());
    on(canvas, 'wheel', (e) => this.wheel(e), { passive: false });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(canvas.parentElement || canvas);
    this.themes = new MutationObserver(() => { this.c = colours(); this.paint(); });
    this.themes.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    this.resize();
  }

  close() {
    this.closed = true;
    this.ends.forEach((f) => f());
    this.sizes.disconnect();
    this.themes.disconnect();
  }

  resize() {
    const W = this.canvas.parentElement?.clientWidth || 600;
    const L = layout(this.coarse, this.happened);
    const scale = devicePixelRatio || 1;
    this.width = W;
    this.scale = scale;
    this.canvas.width = Math.round(W * scale);
    this.canvas.height = Math.round(L.height * scale);
    this.canvas.style.width = `${W}px`;
    this.canvas.style.height = `${L.height}px`;
    this.paint();
  }

  /** Draws with the next frame, once however often it is asked. */
  paint() {
    if (this.due || this.closed) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      if (this.closed) return;
      const events = this.o.events.all.value;
      if (events.length && !this.happened) { this.happened = true; return this.resize(); } // the lane comes, and stays
      this.o.detail.want(this.view.from, this.view.to, this.width);
      this.o.overview.want(this.over.from, this.over.to, this.width);
      draw(this.ctx, { width: this.width, scale: this.scale, coarse: this.coarse, view: this.view, over: this.over, detail: this.o.detail.data.value, overview: this.o.overview.data.value, events, happened: this.happened, now: this.o.now(), playhead: this.playhead, live: this.live, selection: this.selection, hover: this.dragging ? null : this.hoverX, c: this.c });
    });
  }

  time(x) { return this.view.from + (x / this.width) * (this.view.to - this.view.from); }
  x(t) { return ((t - this.view.from) / (this.view.to - this.view.from)) * this.width; }

  /** Shows where playing is; keeps it in sight while it is followed. */
  setPlayhead(t, live) {
    this.playhead = t;
    this.live = live;
    if (this.follow && !this.dragging && Number.isFinite(t)) {
      const w = this.view.to - this.view.from;
      const edge = this.o.now() + w * 0.06; // a little room after now, so that it is seen
      const out = t > this.view.to || t < this.view.from;
      let from = this.view.from;
      if (live || (out && t > edge - w)) from = edge - w;
      else if (out) from = t - w / 2;
      else if (t > this.view.to - w * 0.12) from = Math.min(t - w * 0.25, edge - w);
      if (live ? Math.abs(from - this.view.from) > w / this.width : from > this.view.from || out) {
        this.view = { from, to: from + w };
        this.settle();
      }
    }
    this.paint();
  }

  /** Puts the overview where the view is: the newest span, or the local days around it. */
  settle() {
    const now = this.o.now();
    if (this.view.to > now - this.span) this.over = { from: now - this.span, to: now + this.span * 0.004 };
    else {
      const mid = (this.view.from + this.view.to) / 2;
      const from = this.span <= DAY ? startOfDay(mid) : startOfDay(mid - this.span / 2);
      this.over = { from, to: nextDay(from, Math.max(1, Math.round(this.span / DAY))) };
    }
    this.o.moved?.();
  }

  /** Sees this much time, around t or the playhead or the middle. */
  zoom(width, around) {
    const w = Math.min(MOST, Math.max(LEAST, width));
    const old = this.view.to - this.view.from;
    const inside = Number.isFinite(this.playhead) && this.playhead >= this.view.from && this.playhead <= this.view.to;
    const t = around ?? (inside ? this.playhead : (this.view.from + this.view.to) / 2);
    const part = (t - this.view.from) / old;
    this.view = { from: t - part * w, to: t - part * w + w };
    this.limit();
  }

  pan(ms) {
    this.view = { from: this.view.from + ms, to: this.view.to + ms };
    this.follow = this.playhead >= this.view.from && this.playhead <= this.view.to;
    this.limit();
  }

  show(t) {
    const w = this.view.to - this.view.from;
    this.view = { from: t - w / 2, to: t + w / 2 };
    this.follow = true;
    this.limit();
  }

  setSpan(ms) {
    this.span = ms;
    this.settle();
    this.paint();
  }

  limit() {
    const w = this.view.to - this.view.from;
    const most = this.o.now() + w * 0.25;
    if (this.view.to > most) this.view = { from: most - w, to: most };
    this.settle();
    this.paint();
  }

  setSelection(s) {
    this.selection = s && { from: Math.min(s.from, s.to), to: Math.max(s.from, s.to) };
    this.o.select(this.selection);
    this.paint();
  }

  at(e) {
    const r = this.canvas.getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  }

  down(e) {
    if (e.button > 0) return;
    const p = this.at(e);
    this.canvas.setPointerCapture(e.pointerId);
    this.pointers.set(e.pointerId, p);
    if (this.pointers.size === 2) { this.endDrag(true); this.pinch = this.spread(); return; }
    const at = zone(this, p);
    const select = at === 'band' && (this.selecting || e.shiftKey);
    this.dragging = { zone: select ? 'select' : at, x: p.x, from: this.time(p.x), view: { ...this.view }, moved: false, touch: e.pointerType === 'touch' };
    this.o.hover(null);
    if (!this.dragging.touch) this.drag(p);
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return { w: Math.max(20, Math.abs(a.x - b.x)), mid: (a.x + b.x) / 2, view: { ...this.view }, t: this.time((a.x + b.x) / 2) };
  }

  move(e) {
    const p = this.at(e);
    if (this.pointers.has(e.pointerId)) this.pointers.set(e.pointerId, p);
    if (this.pinch && this.pointers.size === 2) {
      const s = this.spread();
      const w = Math.min(MOST, Math.max(LEAST, ((this.pinch.view.to - this.pinch.view.from) * this.pinch.w) / s.w));
      const from = this.pinch.t - (s.mid / this.width) * w;
      this.view = { from, to: from + w };
      this.follow = false;
      this.limit();
      return;
    }
    if (this.dragging) return this.drag(p);
    this.hoverX = p.x;
    const at = zone(this, p);
    this.canvas.style.cursor = { over: 'pointer', from: 'ew-resize', to: 'ew-resize', axis: 'grab', event: 'pointer', band: this.selecting ? 'crosshair' : 'pointer' }[at];
    if (e.pointerType !== 'touch') this.o.hover(hint(this, p.x, at));
    this.paint();
  }

  drag(p) {
    const d = this.dragging;
    if (Math.abs(p.x - d.x) > (d.touch ? 6 : 3)) d.moved = true;
    if (d.touch && !d.moved) return; // it may be a tap, or the page being scrolled
    const t = Math.min(this.o.now(), this.time(Math.min(this.width, Math.max(0, p.x))));
    if (d.zone === 'event' && d.moved) d.zone = 'band'; // dragged from there: the picture follows
    if (d.zone === 'band') { this.playhead = t; this.live = false; this.o.scrub(t); this.o.hover({ ...hint(this, p.x, 'band'), scrub: true }); }
    if (d.zone === 'from' && this.selection) this.setSelection({ from: Math.min(t, this.selection.to - 500), to: this.selection.to });
    if (d.zone === 'to' && this.selection) this.setSelection({ from: this.selection.from, to: Math.max(t, this.selection.from + 500) });
    if (d.zone === 'select' && d.moved) this.setSelection({ from: d.from, to: t });
    if (d.zone === 'axis' && d.moved) {
      const ms = ((d.x - p.x) / this.width) * (d.view.to - d.view.from);
      this.view = { from: d.view.from + ms, to: d.view.to + ms };
      this.follow = false;
      this.canvas.style.cursor = 'grabbing';
      this.limit();
    }
    if (d.zone === 'over') {
      const w = this.view.to - this.view.from;
      const mid = this.over.from + (p.x / this.width) * (this.over.to - this.over.from);
      const old = this.over;
      this.view = { from: mid - w / 2, to: mid + w / 2 };
      this.follow = false;
      this.limit();
      if (this.pointers.size) this.over = old; // it stands still under the finger
    }
    this.paint();
  }

  up(e) {
    this.pointers.delete(e.pointerId);
    if (this.pinch) { if (this.pointers.size < 2) this.pinch = null; this.pointers.clear(); return; }
    this.endDrag(e.type === 'pointercancel');
  }

  endDrag(cancelled) {
    const d = this.dragging;
    this.dragging = null;
    if (!d) return;
    if (d.zone === 'band' && (d.moved || !cancelled)) {
      if (d.touch && !d.moved) this.playhead = Math.min(this.o.now(), this.time(d.x));
      this.follow = true;
      this.o.scrubEnd(this.playhead);
    }
    if (d.touch) this.o.hover(null);
    if (d.zone === 'event' && !cancelled) choose(this, eventAt(this, d.x));
    if (d.zone === 'over' || d.zone === 'axis') {
      const t = this.time(d.x);
      this.settle();
      // A click that moves nothing goes there.
      if (!d.moved && !cancelled) { const at = d.zone === 'over' ? (this.view.from + this.view.to) / 2 : t; this.playhead = at; this.follow = true; this.o.scrubEnd(at); }
    }
    this.paint();
  }

  leave() {
    if (this.dragging) return;
    this.hoverX = null;
    this.o.hover(null);
    this.paint();
  }

  wheel(e) {
    e.preventDefault();
    const { x } = this.at(e);
    const w = this.view.to - this.view.from;
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) return this.pan(((e.deltaX || e.deltaY) / this.width) * w);
    const f = Math.exp(Math.max(-80, Math.min(80, e.deltaY * (e.deltaMode ? 20 : 1))) * 0.004);
    this.zoom(w * f, this.time(x));
    this.follow = this.playhead >= this.view.from && this.playhead <= this.view.to;
  }
}
