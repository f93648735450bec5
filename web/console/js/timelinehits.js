// What lies under a pointer on the timeline.
import { layout } from './timelinedraw.js';
import { boxes, hit } from './timelineevents.js';
import { LEAST } from './timescale.js';

/** The part of the timeline at a point: over, event, from, to, axis or band. */
export function zone(tl, { x, y }) {
  const L = layout(tl.coarse, tl.happened);
  if (y < (L.over[1] + L.pill) / 2) return 'over';
  if (tl.selection && y < L.band[1] + 8) {
    const reach = tl.coarse ? 18 : 8;
    if (Math.abs(x - tl.x(tl.selection.from)) < reach) return 'from';
    if (Math.abs(x - tl.x(tl.selection.to)) < reach) return 'to';
  }
  if (tl.happened && y > L.lane[0] - 2 && y < L.lane[1] + 3 && eventAt(tl, x)) return 'event';
  return y > L.axis[0] + 4 ? 'axis' : 'band';
}

/** What happened at x of the lane: one box, with one event or several. */
export function eventAt(tl, x) {
  return hit(boxes(tl.o.events.all.value, tl.view, tl.width, tl.o.now(), tl.coarse), x, tl.coarse ? 14 : 3);
}

/** What is said of a place: its time, whether it is recorded, what happened. */
export function hint(tl, x, at) {
  const over = at === 'over';
  const t = over ? tl.over.from + (x / tl.width) * (tl.over.to - tl.over.from) : tl.time(x);
  const cover = over ? tl.o.overview : tl.o.detail;
  const slack = over ? ((tl.over.to - tl.over.from) / tl.width) * 2 : 0;
  const gap = cover.gapAt(t) || (slack && (cover.gapAt(t - slack) || cover.gapAt(t + slack))) || null;
  return { x, t, gap, recorded: !!cover.spanAt(t), over, events: at === 'event' ? eventAt(tl, x)?.list : null };
}

/** Plays what was chosen; of several in one place, the first, with all of them in sight. */
export function choose(tl, box) {
  if (!box) return;
  if (box.list.length > 1) {
    const from = box.list[0].start;
    const w = Math.max(LEAST, (box.list[box.list.length - 1].start - from) * 1.6);
    if (w < tl.view.to - tl.view.from) tl.view = { from: from - w * 0.2, to: from + w * 0.8 };
  }
  tl.follow = true;
  tl.limit();
  tl.o.pick(box.list);
}
