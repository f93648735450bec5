// The lane of events under the timeline's band: where each lies, and how it is drawn.
// Shape says what it is: a flag for someone's mark, a diamond for an instant that a
// program found, a block for a stretch, a block with an arrow for one that goes on, a
// pill with a number for several that lie too close.
import { ends, isKept, word } from './events.js';

/** The name of a colour for a kind: those of people are apart from those of programs. */
export function tint(kind) {
  if (kind === 'mark' || kind === 'recording') return 'p1';
  let n = 0;
  for (const c of kind) n = (n * 31 + c.charCodeAt(0)) % 997;
  return n % 2 ? 'p2' : 'p3';
}

/**
 * Where the events of a view lie, in the order in which they are drawn.
 * @returns {{x:number, w:number, list:any[], point:boolean}[]}
 */
export function boxes(events, view, W, now, coarse) {
  const X = (t) => ((t - view.from) / (view.to - view.from)) * W;
  const small = coarse ? 16 : 12;
  const out = [];
  let last = null;
  for (const e of events) {
    const end = ends(e, now);
    if (e.start > view.to || end < view.from) continue;
    const w = X(end) - X(e.start);
    if (w >= small) { out.push({ x: X(e.start), w, list: [e], point: false }); continue; }
    const mid = X(e.start) + w / 2;
    // Those that lie on each other become one that says how many they are.
    if (last && mid - small / 2 < last.x + last.w - small * 0.3) { last.list.push(e); last.w = Math.max(last.w, 22); continue; }
    last = { x: mid - small / 2, w: small, list: [e], point: true };
    out.push(last);
  }
  return out.sort((a, b) => Number(a.point) - Number(b.point) || b.w - a.w);
}

/** The box under x, the one on top first. */
export const hit = (found, x, reach) => found.findLast((b) => x >= b.x - 1 && x <= b.x + b.w + 1) || (reach ? found.filter((b) => x >= b.x - reach && x <= b.x + b.w + reach).sort((a, b) => away(a, x) - away(b, x))[0] : undefined);
const away = (b, x) => Math.abs(b.x + b.w / 2 - x);

/** Draws the lane. @param {CanvasRenderingContext2D} ctx */
export function lane(ctx, m, /** @type {[number, number]} */ [top, bottom], found) {
  const h = bottom - top;
  ctx.textBaseline = 'middle';
  for (const b of found) {
    const e = b.list[0];
    ctx.fillStyle = m.c[tint(e.kind)];
    if (b.list.length > 1) pill(ctx, m, b, top, h);
    else if (b.point) point(ctx, m, b, e.kind === 'mark' ? flag : diamond, top, h);
    else block(ctx, m, b, e, top, h);
  }
}

function block(ctx, m, b, e, top, h) {
  const x = Math.max(-6, b.x);
  const right = Math.min(m.width + 6, b.x + b.w);
  ctx.beginPath();
  if (e.open) {
    const tip = Math.min(8, right - x);
    ctx.moveTo(x, top);
    ctx.lineTo(right - tip, top);
    ctx.lineTo(right, top + h / 2);
    ctx.lineTo(right - tip, top + h);
    ctx.lineTo(x, top + h);
    ctx.closePath();
  } else ctx.roundRect(x, top, right - x, h, 4);
  ctx.fill();
  ctx.strokeStyle = m.c.panel; // those that overlap stay apart
  ctx.lineWidth = 1;
  ctx.stroke();
  const left = Math.max(0, x) + 6;
  const room = right - left - (e.open ? 10 : 5);
  if (room < 22) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, room, h);
  ctx.clip();
  ctx.fillStyle = m.c.bg;
  ctx.font = `600 ${m.coarse ? 12 : 11}px ${m.c.font}`;
  ctx.fillText(word(e).slice(0, 80), left, top + h / 2 + 0.5);
  ctx.restore();
}

/** An instant, with an edge that keeps it apart from a block under it. */
function point(ctx, m, b, shape, top, h) {
  ctx.beginPath();
  shape(ctx, b, b.x + b.w / 2, top, h);
  ctx.closePath();
  ctx.strokeStyle = m.c.panel;
  ctx.lineWidth = 2.5;
  ctx.stroke();
  ctx.fill();
}

function flag(ctx, b, x, top, h) {
  ctx.moveTo(x - 1, top);
  ctx.lineTo(x + 1, top);
  ctx.lineTo(x + b.w * 0.8, top + h * 0.3);
  ctx.lineTo(x + 1, top + h * 0.6);
  ctx.lineTo(x + 1, top + h);
  ctx.lineTo(x - 1, top + h);
}

function diamond(ctx, b, x, top, h) {
  const y = top + h / 2;
  const r = Math.min(b.w, h) / 2;
  ctx.moveTo(x, y - r);
  ctx.lineTo(x + r, y);
  ctx.lineTo(x, y + r);
  ctx.lineTo(x - r, y);
}

function pill(ctx, m, b, top, h) {
  ctx.beginPath();
  ctx.roundRect(b.x, top + 1, b.w, h - 2, h / 2);
  ctx.fill();
  ctx.strokeStyle = m.c.panel;
  ctx.lineWidth = 1;
  ctx.stroke();
  const text = b.list.length > 99 ? '99+' : String(b.list.length);
  ctx.font = `700 ${b.list.length > 99 ? 9.5 : 11}px ${m.c.font}`;
  ctx.fillStyle = m.c.bg;
  ctx.fillText(text, b.x + (b.w - ctx.measureText(text).width) / 2, top + h / 2 + 0.5);
}

/** Brackets under what outlives the retention. */
export function brackets(ctx, m, events, view, W, /** @type {[number, number]} */ [top, bottom], tall) {
  const X = (t) => ((t - view.from) / (view.to - view.from)) * W;
  ctx.fillStyle = m.c.text;
  for (const e of events) {
    if (!isKept(e, m.now)) continue;
    const from = Number.isFinite(e.keptFrom) ? e.keptFrom : e.start;
    const to = Number.isFinite(e.keptTo) ? e.keptTo : ends(e, m.now);
    if (from > view.to || to < view.from) continue;
    const a = Math.max(-4, X(from));
    const b = Math.min(W + 4, Math.max(X(to), X(from) + 3));
    ctx.fillRect(a, bottom - 3, b - a, 3);
    if (!tall) continue;
    ctx.fillRect(a, top, 2, bottom - top);
    if (!e.open) ctx.fillRect(b - 2, top, 2, bottom - top);
  }
}

/** Strokes in the overview, where each begins. */
export function strokes(ctx, m, events, X, /** @type {[number, number]} */ [top, bottom]) {
  let past = -9;
  for (const e of events) {
    const x = X(e.start);
    if (x < past + 2 || x > m.width) continue;
    past = x;
    ctx.fillStyle = m.c[tint(e.kind)];
    ctx.fillRect(x - 1.25, top, 2.5, bottom - top);
  }
}
