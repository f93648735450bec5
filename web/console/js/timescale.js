// Which instants a time axis names, in the viewer's zone. Steps of hours are found by
// asking each quarter hour for its local time, so a day of 23 or 25 hours, and zones off
// by 30 or 45 minutes, come out right.
import { hourMinute, clock, day, weekday, startOfDay, nextDay } from './format.js';

const S = 1000, M = 60 * S, H = 60 * M, D = 24 * H;
const STEPS = [S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, M, 2 * M, 5 * M, 10 * M, 15 * M, 30 * M, H, 2 * H, 3 * H, 6 * H, 12 * H, D, 2 * D, 7 * D, 14 * D, 30 * D, 90 * D, 365 * D];

/**
 * @param {number} from @param {number} to instants in ms @param {number} most ticks that fit
 * @returns {{at:number, label:string, strong:boolean}[]}
 */
export function ticks(from, to, most) {
  const step = STEPS.find((s) => (to - from) / s <= most) || 365 * D;
  const out = [];
  if (step >= D) {
    const days = Math.round(step / D);
    let t = startOfDay(from);
    for (let i = 0; t <= to && i < 5000; i++, t = nextDay(t)) {
      const n = Math.round((t - new Date(t).getTimezoneOffset() * M) / D);
      if (t >= from && n % days === 0) out.push({ at: t, label: days < 3 ? `${weekday(t)} ${day(t)}` : day(t), strong: true });
    }
    return out;
  }
  if (step >= H) {
    const hours = step / H;
    for (let t = Math.ceil(from / (15 * M)) * 15 * M; t <= to; t += 15 * M) {
      const d = new Date(t);
      if (d.getMinutes() || d.getHours() % hours) continue;
      out.push({ at: t, label: d.getHours() === 0 ? day(t) : hourMinute(t), strong: d.getHours() === 0 });
    }
    return out;
  }
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
    out.push({ at: t, label: step >= M ? hourMinute(t) : clock(t), strong: t === startOfDay(t) });
  }
  return out;
}

/** @type {[string, number][]} */
export const ZOOMS = [['1 m', M], ['10 m', 10 * M], ['1 h', H], ['6 h', 6 * H], ['24 h', D], ['7 d', 7 * D], ['30 d', 30 * D]];
export const LEAST = 10 * S;
export const MOST = 400 * D;
