// What the stream page does with events: marks, keeps, starts, stops, goes to them.
import { useRef, useState } from '../lib.js';
import { serverNow, toast, words } from '../store.js';
import { iso } from '../api.js';
import { clock } from '../format.js';
import { addEvent, changeEvent, mayMark, playFrom, word } from '../events.js';

/** @param {{name:string, stream:any, player:any, events:any, detail:any, control:any, clip:any}} p */
export function useMarking({ name, stream, player, events, detail, control, clip }) {
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const last = useRef(/** @type {any} */ (null));
  // The instant on the screen; right after going live that is still of the picture before.
  const shown = () => {
    const [t, live] = [player?.time.value, serverNow()];
    return !Number.isFinite(t) || t > live || (player.mode.value === 'live' && player.playing.value && player.state.value.kind !== 'playing') ? live : t;
  };
  const edit = (event) => setDialog({ kind: 'edit', event });

  const go = (e) => {
    last.current = { e, at: serverNow() };
    const from = playFrom(e);
    // What was recorded may begin after the run-up.
    const span = detail.spanAt(e.start);
    const begin = span && !detail.spanAt(from) && span.start > from ? span.start + 50 : from;
    player.seek(begin, true);
  };
  const goThere = (e) => { go(e); control.current?.show(e.start); };
  const next = async (back) => {
    const t = shown();
    const was = last.current?.e;
    const fresh = was && player.mode.value === 'recorded' && (serverNow() - last.current.at < 4000 || Math.abs(t - playFrom(was)) < 15000) ? was : null;
    try {
      const e = await events.step(t, back, fresh);
      if (!e) return toast(`No event ${back ? 'before' : 'after'} this`);
      goThere(e);
      return toast(`${word(e)}, ${clock(e.start)}`, 'ok', 4000);
    } catch (err) { return toast(`The events could not be read: ${words(err)}`, 'bad'); }
  };
  const mark = async () => {
    if (!mayMark()) return toast('This sign-in may not mark', 'warn');
    const at = shown();
    try {
      const e = await addEvent(name, { kind: 'mark', start: iso(at), before: '10s', after: '10s' });
      events.mark(e);
      return toast(`Marked ${clock(at)}.`, 'ok', 9000, ['Name or keep it', () => edit(e)]);
    } catch (err) { return toast(`Not marked: ${words(err)}`, 'bad', 10000); }
  };
  const stop = async (e) => {
    try {
      const done = await changeEvent(name, e.id, { end: 'now' });
      events.mark(done);
      toast(`${word(e)} ended.`, 'ok', 9000, ['Name or keep it', () => edit(done)]);
    } catch (err) { toast(`Not stopped: ${words(err)}`, 'bad', 10000); }
  };
  const record = () => setDialog({ kind: 'record', at: serverNow() });
  const toggle = () => {
    if (!mayMark()) return toast('This sign-in may not record events', 'warn');
    const open = events.all.value.findLast((e) => e.open && e.kind === 'recording');
    if (open) return stop(open);
    return stream.live ? record() : toast('Nothing comes from this camera now', 'warn');
  };
  const keep = () => {
    if (!mayMark()) return toast('This sign-in may not keep video', 'warn');
    return clip ? setDialog({ kind: 'keep', clip, about: detail.sum(clip.from, clip.to) }) : toast('Mark a clip first: I where it begins, O where it ends');
  };
  return { dialog, close: () => setDialog(null), open: setDialog, go, goThere, next, mark, stop, record, toggle, keep, edit, all: () => setDialog({ kind: 'list' }) };
}
