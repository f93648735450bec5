// Draws a timeline: the overview bar, the coverage with its gaps, the axis, the marked
// clip and the playhead. Pure output: it changes nothing that it is given.
import { ticks } from './timescale.js';
import { clock } from './format.js';
import { boxes, brackets, lane, strokes } from './timelineevents.js';

/**
 * Heights in CSS pixels; the canvas is as high as the last. The lane is there once
 * something happened.
 * @returns {{over:[number,number], pill:number, band:[number,number], lane:[number,number], axis:[number,number], height:number}}
 */
export function layout(coarse, happened) {
  const extra = happened ? (coarse ? 34 : 23) : 0;
  return coarse
    ? { over: [4, 26], pill: 42, band: [66, 98], lane: [103, 129], axis: [98 + extra, 126 + extra], height: 126 + extra }
    : { over: [3, 21], pill: 36, band: [57, 79], lane: [83, 100], axis: [79 + extra, 103 + extra], height: 103 + extra };
}

function hatch(ctx, c, scale) {
  const n = 7 * scale;
  const tile = document.createElement('canvas');
  tile.width = tile.height = n;
  const g = tile.getContext('2d');
  if (!g) return c.gap;
  g.fillStyle = c.gap;
  g.fillRect(0, 0, n, n);
  g.strokeStyle = c.bad;
  g.globalAlpha = 0.65;
  g.lineWidth = 1.5 * scale;
  for (const o of [-n, 0, n]) { g.beginPath(); g.moveTo(o - 1, n + 1); g.lineTo(o + n + 1, -1); g.stroke(); }
  const p = ctx.createPattern(tile, 'repeat');
  p?.setTransform(new DOMMatrix().scale(1 / scale));
  return p || c.gap;
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {any} m {width, scale, coarse, view, over, detail, overview, events, happened, now, playhead, live, selection, hover, c, focus}
 */
export function draw(ctx, m) {
  const L = layout(m.coarse, m.happened);
  const W = m.width;
  ctx.setTransform(m.scale, 0, 0, m.scale, 0, 0);
  ctx.clearRect(0, 0, W, L.height);
  const lines = hatch(ctx, m.c, m.scale);
  overview(ctx, m, L, W, lines);
  const X = (t) => ((t - m.view.from) / (m.view.to - m.view.from)) * W;
  axis(ctx, m, L, W, X);
  band(ctx, m, L.band, W, X, m.detail, lines, m.view);
  brackets(ctx, m, m.events, m.view, W, [L.band[0], L.band[1] + 2], true);
  if (m.happened) lane(ctx, m, L.lane, boxes(m.events, m.view, W, m.now, m.coarse));
  if (m.now < m.view.to && m.now > m.view.from) edge(ctx, m, L, X(m.now));
  if (m.selection) selection(ctx, m, L, W, X);
  if (m.hover !== null) { ctx.globalAlpha = 0.5; line(ctx, m.hover, L.band[0] - 4, L.band[1] + 4, m.c.text, 1); ctx.globalAlpha = 1; }
  if (Number.isFinite(m.playhead)) playhead(ctx, m, L, W, X(m.playhead));
}

function overview(ctx, m, L, W, lines) {
  const [a, b] = L.over;
  ctx.fillStyle = m.c.panel2;
  round(ctx, 0, a, W, b - a, 4);
  ctx.fill();
  const X = (t) => ((t - m.over.from) / (m.over.to - m.over.from)) * W;
  names(ctx, m, b, W, X);
  band(ctx, m, [a + 5, b - 5], W, X, m.overview, lines, m.over);
  strokes(ctx, m, m.events, X, [a + 2, b - 2]);
  brackets(ctx, m, m.events, m.over, W, [a, b], false);
  if (Number.isFinite(m.playhead)) line(ctx, X(m.playhead), a, b, m.c.text, 2);
  const x = Math.max(1.5, X(m.view.from));
  const w = Math.max(10, Math.min(W - 1.5, X(m.view.to)) - x);
  if (x < W && X(m.view.to) > 0) {
    ctx.strokeStyle = m.c.acc;
    ctx.lineWidth = 2.5;
    round(ctx, Math.min(x, W - 12), a - 1.5, w, b - a + 3, 4);
    ctx.stroke();
  }
}

/** The hours or days under the overview, so that it can be read without pointing at it. */
function names(ctx, m, bottom, W, X) {
  ctx.font = `${m.coarse ? 11 : 10.5}px ${m.c.font}`;
  ctx.textBaseline = 'top';
  ctx.fillStyle = m.c.mut;
  let past = 0;
  for (const t of ticks(m.over.from, m.over.to, Math.max(2, Math.floor(W / (m.coarse ? 70 : 76))))) {
    const x = Math.round(X(t.at)) + 0.5;
    const w = ctx.measureText(t.label).width;
    const left = x - w / 2;
    if (left < past || left + w > W) continue;
    line(ctx, x, bottom - 3, bottom, m.c.mut, 1);
    ctx.fillText(t.label, left, bottom + 3);
    past = left + w + 12;
  }
}

function band(ctx, m, /** @type {[number, number]} */ [top, bottom], W, X, cover, lines, view) {
  const h = bottom - top;
  ctx.save();
  round(ctx, 0, top, W, h, 3);
  ctx.clip();
  ctx.fillStyle = m.c.panel2;
  ctx.fillRect(0, top, W, h);
  const box = (from, to, least) => {
    if (to <= view.from || from >= view.to) return;
    const x = Math.max(0, X(from));
    const w = Math.max(least, Math.min(W, X(to)) - x);
    ctx.fillRect(x, top, w, h);
  };
  ctx.fillStyle = m.c.rec;
  for (const s of cover.spans) box(s.start, s.end, 1);
  for (const g of cover.gaps) { ctx.fillStyle = m.c.panel; box(g.start, g.end, 0); ctx.fillStyle = lines; box(g.start, g.end, 2); }
  ctx.restore();
}

function axis(ctx, m, L, W, X) {
  const room = m.coarse ? 78 : 84;
  ctx.font = `${m.coarse ? 12 : 11.5}px ${m.c.font}`;
  ctx.textBaseline = 'middle';
  let past = -Infinity;
  for (const t of ticks(m.view.from, m.view.to, Math.max(2, Math.floor(W / room)))) {
    const x = Math.round(X(t.at)) + 0.5;
    line(ctx, x, L.band[0] - 6, L.axis[1] - 6, m.c.line, 1);
    const w = ctx.measureText(t.label).width;
    if (x + 5 + w > W || x < past + 8) continue;
    ctx.fillStyle = t.strong ? m.c.text : m.c.mut;
    ctx.fillText(t.label, x + 5, L.axis[0] + (L.axis[1] - L.axis[0]) / 2 + 2);
    past = x + 5 + w;
  }
}

/** Where now is: nothing can be recorded to the right of it. */
function edge(ctx, m, L, x) {
  ctx.fillStyle = m.c.panel;
  ctx.globalAlpha = 0.55;
  ctx.fillRect(x, L.band[0] - 1, m.width - x, L.band[1] - L.band[0] + 2);
  ctx.globalAlpha = 1;
  line(ctx, x, L.band[0] - 4, L.band[1] + 4, m.c.acc, 1.5);
}

function selection(ctx, m, L, W, X) {
  const a = X(m.selection.from);
  const b = X(m.selection.to);
  const [top, bottom] = [L.band[0] - 5, L.axis[0] + 5];
  ctx.fillStyle = m.c.acc;
  ctx.globalAlpha = 0.22;
  ctx.fillRect(Math.max(0, a), top, Math.min(W, b) - Math.max(0, a), bottom - top);
  ctx.globalAlpha = 1;
  for (const x of [a, b]) {
    if (x < -4 || x > W + 4) continue;
    line(ctx, x, top, bottom, m.c.acc, 2);
    ctx.fillStyle = m.c.acc;
    round(ctx, x - 4, (L.band[0] + L.band[1]) / 2 - 8, 8, 16, 3);
    ctx.fill();
  }
}

function playhead(ctx, m, L, W, x) {
  if (x < -1 || x > W + 1) return;
  line(ctx, x, L.pill + 8, L.axis[1] - 6, m.c.text, 2);
  const text = m.live ? 'live' : clock(m.playhead, m.view.to - m.view.from < 3700e3);
  ctx.font = `600 11.5px ${m.c.font}`;
  const w = ctx.measureText(text).width + 16;
  const left = Math.min(Math.max(0, x - w / 2), W - w);
  ctx.fillStyle = m.live ? m.c.acc : m.c.text;
  round(ctx, left, L.pill, w, 18, 5);
  ctx.fill();
  ctx.fillStyle = m.c.bg;
  ctx.textBaseline = 'middle';
  ctx.fillText(text, left + 8, L.pill + 9.5);
}

function line(ctx, x, a, b, colour, width) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.moveTo(x, a);
  ctx.lineTo(x, b);
  ctx.stroke();
}

function round(ctx, x, y, w, h, r) {
  ctx.beginPath();
  ctx.roundRect(x, y, Math.max(0, w), h, r);
}
