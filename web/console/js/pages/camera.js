// One stream: its picture, its time, its facts.
import { html, useEffect, useMemo, useRef, useState } from '../lib.js';
import { streams, streamsError, refreshStreams, mayChange, serverNow, toast, words, outage, told } from '../store.js';
import { Player, RATES } from '../player/player.js';
import { playable } from '../player/mse.js';
import { Coverage, Gaps } from '../coverage.js';
import { Events, mayMark } from '../events.js';
import { address, stream as path, iso, request } from '../api.js';
import { href, route, amend } from '../router.js';
import { format, rate, instant } from '../format.js';
import { Stage, Controls, fullscreen } from '../components/stage.js';
import { TimelineView } from '../components/timelineview.js';
import { Facts, Missing } from '../components/facts.js';
import { Happenings } from '../components/happenings.js';
import { EventDialog } from '../components/eventdialog.js';
import { useMarking } from '../components/marking.js';
import { TalkBar, useVoice } from '../components/talk.js';
import { StreamDialog } from '../components/streamdialog.js';
import { useKeys } from '../components/keys.js';
import { StatusChip, Empty, Failure, Skeleton } from '../components/bits.js';

export default function Camera({ name }) {
  const stream = streams.value?.get(name);
  if (stream) return html`<${Watch} name=${name} stream=${stream} key=${name} />`;
  const back = html`<div class="top"><a href=${href('cameras')}>← Cameras</a><h1>${name}</h1></div>`;
  if (streamsError.value) return html`${back}<div class="inset"><${Failure} what="The camera could not be read" error=${streamsError.value} retry=${refreshStreams} /></div>`;
  if (streams.value) return html`${back}<div class="inset"><${Empty} title=${`There is no camera called ${name}`} action=${html`<a class="btn pri" href=${href('cameras')}>See all cameras</a>`}>It may have been deleted, or you may not see it with this sign-in.</${Empty}></div>`;
  return html`${back}<div class="sp" aria-busy="true"><div class="card flat"><div class="player sk"></div><div class="pad"><${Skeleton} height="80px" /></div></div><div class="card pad"><${Skeleton} height="220px" /></div></div>`;
}

function Watch({ name, stream }) {
  const video = useRef(null);
  const frame = useRef(null);
  const control = useRef(null);
  const [player, setPlayer] = useState(null);
  const [clip, setClip] = useState(null);
  const [dialog, setDialog] = useState('');
  const [talking, setTalking] = useState(false);
  const voice = useVoice(stream);
  const events = useMemo(() => new Events(name), [name]);
  const detail = useMemo(() => new Coverage(name, (...a) => events.feed(...a)), [name]);
  const overview = useMemo(() => new Coverage(name, (...a) => { events.feed(...a); events.more.value = !a[4]; }), [name]);
  const gaps = useMemo(() => new Gaps(name), [name]);
  const unplayable = !playable(stream);

  useEffect(() => {
    const p = new Player(video.current, name);
    p.stills = unplayable;
    setPlayer(p);
    const t = Date.parse(route.value.query.get('t') || '');
    if (Number.isFinite(t)) p.seek(t, true); else p.live();
    return () => p.close();
  }, [name, unplayable]);
  // The address follows the instant, so that it can be sent to someone.
  useEffect(() => {
    const timer = setInterval(() => {
      if (!player || player.scrubbing) return;
      if (player.mode.value === 'live') amend({});
      else if (Number.isFinite(player.time.value)) amend({ t: iso(Math.round(player.time.value)) });
    }, 1000);
    return () => clearInterval(timer);
  }, [player]);
  useEffect(() => {
    const look = () => { const o = control.current?.over; if (o && !document.hidden) gaps.want(o.from, o.to); };
    look();
    const timer = setInterval(look, 600);
    return () => clearInterval(timer);
  }, [gaps, player]);
  // Changes that were told while nobody listened are asked for.
  useEffect(() => told.subscribe((v) => { if (v?.again) { detail.stale(); overview.stale(); } }), [detail, overview]);
  // What broke with the server starts again with it.
  const away = !!outage.value;
  useEffect(() => { if (!away && player?.state.value.kind === 'error') { if (player.mode.value === 'live') player.live(); else player.seek(player.time.value, player.playing.value); } }, [away]);

  const snapshot = async () => {
    try {
      if (player.stills) {
        const at = player.mode.value === 'live' ? '' : iso(player.time.value);
        return save(URL.createObjectURL(await (await request('GET', path(name, '/still.jpg'), { query: { at }, accept: 'image/jpeg' })).blob()), `${name} ${stamp(player.time.value)}.jpg`, true);
      }
      const blob = await player.snapshot();
      save(URL.createObjectURL(blob), `${name} ${stamp(player.time.value)}.jpg`, true);
      return toast('Snapshot saved');
    } catch (err) { return toast(`No snapshot: ${words(err)}`, 'bad'); }
  };
  const download = async () => {
    if (!clip) return;
    const q = { start: iso(clip.from), end: iso(clip.to) };
    try {
      // Asked for one byte first, so that a refusal is read here and not saved as a file.
      await request('GET', path(name, '/clip.mp4'), { query: q, accept: 'video/mp4', range: 'bytes=0-0' });
      save(address(path(name, '/clip.mp4'), q).href, `${name} ${stamp(clip.from)}.mp4`);
      toast('The clip is being downloaded');
    } catch (err) { toast(`No clip: ${words(err)}`, 'bad', 10000); }
  };
  const mark = (edge) => {
    const t = player.time.value;
    if (!Number.isFinite(t)) return;
    const other = clip ? clip[edge === 'from' ? 'to' : 'from'] : edge === 'from' ? Math.min(t + 10000, Math.max(t + 1000, serverNow())) : t - 10000;
    control.current?.setSelection({ from: edge === 'from' ? t : other, to: edge === 'from' ? other : t });
  };
  const clipButton = () => {
    if (clip) return download();
    const t = Math.min(player.time.value, serverNow() - 2000);
    if (Number.isFinite(t)) control.current?.setSelection({ from: t - 20000, to: Math.min(t + 10000, serverNow() - 1000) });
  };
  const nextGap = (back) => {
    const t = player.time.value;
    const all = [...(gaps.data.value?.gaps || []), ...detail.data.value.gaps].sort((a, b) => a.end - b.end);
    const g = back ? all.findLast((x) => x.end < t - 3000) : all.find((x) => x.end > t + 1500 && x.end < serverNow() - 3000);
    if (g) { player.seek(g.end + 50, undefined); control.current?.show(g.end); } else toast(`No gap ${back ? 'before' : 'after'} this in what the upper bar shows`);
  };
  const marking = useMarking({ name, stream, player, events, detail, control, clip });
  const faster = (n) => player.speed(RATES[Math.min(RATES.length - 1, Math.max(0, RATES.indexOf(player.rate.value) + n))]);
  const acts = {
    ' ': () => player.toggle(), k: () => player.toggle(), j: () => player.skip(-10000), l: () => player.skip(10000),
    ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1),
    'shift+ArrowLeft': () => control.current?.pan(-(control.current.view.to - control.current.view.from) / 4),
    'shift+ArrowRight': () => control.current?.pan((control.current.view.to - control.current.view.from) / 4),
    i: () => mark('from'), o: () => mark('to'), d: download, g: () => player.live(), e: (x) => marking.next(x.shiftKey), n: (x) => nextGap(x.shiftKey),
    b: marking.mark, r: marking.toggle, p: marking.keep, t: () => voice && setTalking(!talking), m: () => player.mute(!player.muted.value),
    f: () => fullscreen(frame.current), s: snapshot, '<': () => faster(-1), '>': () => faster(1),
    '+': () => control.current?.zoom((control.current.view.to - control.current.view.from) / 2), '=': () => control.current?.zoom((control.current.view.to - control.current.view.from) / 2),
    '-': () => control.current?.zoom((control.current.view.to - control.current.view.from) * 2),
    Escape: () => control.current?.setSelection(null),
  };
  useKeys((k, x) => { const act = player && acts[k]; if (!act) return false; act(x); return true; });
  const facts = [format(stream), stream.live && stream.bitrate ? rate(stream.bitrate) : ''].filter(Boolean).join(' · ');

  return html`<div class="top"><a href=${href('cameras')} aria-label="Back to cameras">←<span class="hidem"> Cameras</span></a><h1>${name}</h1><${StatusChip} stream=${stream} />${facts && html`<span class="chip hidem narrow">${facts}</span>`}<span class="grow"></span>
      ${mayChange.value && html`${!stream.demo && !stream.source && html`<button type="button" class="btn sm hidem" onClick=${() => setDialog('push')}>How to send</button>`}<button type="button" class="btn sm" onClick=${() => setDialog('edit')}>Edit</button>`}</div>
    <div class="sp">
      <div class="card flat">
        <${Stage} player=${player} stream=${stream} video=${video} frame=${frame} unplayable=${unplayable} onFix=${setDialog} />
        ${player && html`<${Controls} player=${player} stream=${stream} video=${video} frame=${frame} clip=${clip} onClip=${clipButton} onSnapshot=${snapshot} onMark=${mayMark() && marking.mark} talking=${talking} onTalk=${voice && (() => setTalking(!talking))} />
        ${talking && html`<${TalkBar} name=${name} player=${player} onClose=${() => setTalking(false)} />`}
        <${TimelineView} player=${player} stream=${stream} detail=${detail} overview=${overview} events=${events} control=${control} clip=${clip} onClip=${setClip} onDownload=${download} onKeep=${mayMark() && marking.keep} onPick=${marking.go} />`}
      </div>
      <aside class="stack" aria-label="About this stream"><${Happenings} events=${events} overview=${overview} stream=${stream} onGo=${marking.goThere} onMark=${marking.mark} onRecord=${marking.record} onStop=${marking.stop} onEdit=${marking.edit} onAll=${marking.all} />
        <${Missing} gaps=${gaps} first=${instant(stream.first)} onGo=${(g) => { player.seek(g.start - 5000, undefined); control.current?.show(g.start); }} /><${Facts} stream=${stream} onRetention=${() => setDialog('retention')} /></aside>
    </div>
    <${EventDialog} what=${marking.dialog} stream=${stream} events=${events} marking=${marking} onClose=${marking.close} />
    <${StreamDialog} kind=${dialog} stream=${stream} onClose=${() => setDialog('')} onSwitch=${setDialog} />`;
}

const stamp = (ms) => iso(ms).replace(/[:.]/g, '-').replace('T', ' ').replace(/-\d+Z$/, 'Z');

function save(url, file, revoke = false) {
  const a = document.createElement('a');
  a.href = url;
  a.download = file;
  document.body.append(a);
  a.click();
  a.remove();
  if (revoke) setTimeout(() => URL.revokeObjectURL(url), 30000);
}
