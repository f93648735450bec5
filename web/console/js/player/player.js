// What the stream page drives: one video element that is live or at an instant of the
// recording, and signals that tell the page what it shows.
import { signal, batch } from '../lib.js';
import { serverNow } from '../store.js';
import { Live } from './live.js';
import { Recorded } from './recorded.js';
import { Native } from './native.js';
import { Source } from './mse.js';

export const RATES = [0.25, 0.5, 1, 2, 4, 8];

export class Player {
  /** @param {HTMLVideoElement} video @param {string} name */
  constructor(video, name) {
    this.video = video;
    this.name = name;
    this.mode = signal(/** @type {'live'|'recorded'} */ ('live'));
    this.playing = signal(true);
    this.time = signal(NaN);
    this.latency = signal(NaN);
    this.muted = signal(true);
    this.rate = signal(1);
    /** kind: loading, playing, waiting, gap, nothing, edge, unplayable, error */
    this.state = signal(/** @type {any} */ ({ kind: 'loading' }));
    /** A gap that playing has just leapt over; null again after a moment. */
    this.gap = signal(/** @type {any} */ (null));
    this.skipped = signal(0);
    this.silent = signal('');
    this.engine = /** @type {any} */ (null);
    this.stills = false; // the browser cannot play it: the page shows stills of this time
    video.muted = true;
    video.playsInline = true;
    this.timer = setInterval(() => this.tick(), 80);
    this.onvolume = () => { this.muted.value = video.muted; };
    video.addEventListener('volumechange', this.onvolume);
  }

  tick() {
    if (this.stills && this.mode.value === 'live') this.time.value = serverNow();
    const t = this.engine ? this.engine.time : NaN;
    if (!Number.isFinite(t) || this.scrubbing) return;
    batch(() => {
      this.time.value = t;
      if (this.mode.value === 'live' && this.playing.value) {
        const l = serverNow() - t;
        this.latency.value = Number.isFinite(this.latency.value) ? this.latency.value * 0.9 + l * 0.1 : l;
      }
    });
  }

  set(make, mode) {
    this.engine?.close();
    this.engine = null;
    batch(() => { this.mode.value = mode; this.state.value = { kind: 'loading' }; this.latency.value = NaN; this.skipped.value = 0; this.silent.value = ''; });
    const engine = make();
    this.engine = engine;
  }

  leapt(gap) {
    this.gap.value = gap;
    clearTimeout(this.forget);
    this.forget = setTimeout(() => { this.gap.value = null; }, 4000);
  }

  options(extra) {
    return {
      onstate: (s) => { if (s.kind === 'gap') this.leapt(s); else this.state.value = s; },
      onsilent: (c) => { this.silent.value = c; },
      ...extra,
    };
  }

  live() {
    if (this.stills) return this.still('live', serverNow());
    batch(() => { this.playing.value = true; this.rate.value = 1; this.gap.value = null; });
    this.set(() => (Source
      ? new Live(this.video, this.name, this.options({ audio: true, onskip: (n) => { this.skipped.value += n; }, onrestart: () => setTimeout(() => { if (this.mode.value === 'live' && this.engine) this.live(); }, 300) }))
      : new Native(this.video, this.name, this.options({ live: true }))), 'live');
  }

  recorded() {
    if (this.mode.value === 'recorded' && this.engine) return this.engine;
    this.set(() => (Source ? new Recorded(this.video, this.name, this.options({})) : new Native(this.video, this.name, this.options({ live: false }))), 'recorded');
    this.engine.speed(this.rate.value);
    return this.engine;
  }

  still(mode, t) {
    batch(() => { this.mode.value = mode; this.time.value = t; this.playing.value = mode === 'live'; this.state.value = { kind: 'playing' }; });
  }

  /** Goes to an instant of the recording; play: undefined leaves it as it is. */
  seek(t, play) {
    this.gap.value = null;
    if (t > serverNow() - 300) return this.live();
    if (this.stills) return this.still('recorded', t);
    const e = this.recorded();
    if (play !== undefined) this.playing.value = play;
    if (this.playing.value && !this.scrubbing) e.playing = true; else e.pause();
    this.time.value = t;
    return e.seek(t);
  }

  /** A finger on the timeline: pictures follow it, sound and time stand still. */
  scrub(t) {
    if (this.stills) return this.still('recorded', t);
    if (!this.scrubbing) { this.scrubbing = true; this.resume = this.playing.value; }
    const e = this.recorded();
    e.pause();
    this.time.value = t;
    e.seek(Math.min(t, serverNow() - 500));
  }

  scrubEnd(t) {
    this.scrubbing = false;
    this.seek(t, this.resume);
  }

  toggle() {
    if (this.stills) return this.mode.value === 'live' ? this.still('recorded', this.time.value) : this.live();
    if (this.playing.value) { this.playing.value = false; if (this.mode.value === 'live') { this.engine.held = true; this.video.pause(); } else this.engine.pause(); return; }
    this.playing.value = true;
    if (this.mode.value === 'live') return this.seek(this.time.value, true);
    if (this.state.value.kind === 'edge' || this.state.value.kind === 'nothing') return this.seek(this.time.value, true);
    this.engine.play();
  }

  skip(ms) { if (Number.isFinite(this.time.value)) this.seek(this.time.value + ms); }

  async step(n) {
    if (!Number.isFinite(this.time.value)) return;
    if (this.stills) return this.still('recorded', this.time.value + n * 1000);
    const frame = (this.engine?.frame || 0.04) * 1000;
    const fresh = this.mode.value === 'live';
    this.playing.value = false;
    if (fresh) return this.seek(this.time.value + n * frame, false);
    this.engine.step(n);
    this.tick();
  }

  speed(r) {
    this.rate.value = r;
    if (this.mode.value === 'live' && r !== 1) { this.seek(this.time.value, true); }
    if (this.mode.value === 'recorded') this.engine?.speed(r);
  }

  mute(on) { this.video.muted = on; }

  /** A JPEG of the picture shown. */
  async snapshot() {
    const v = this.video;
    if (!v.videoWidth || v.readyState < 2) throw new Error('there is no picture to keep yet');
    const c = document.createElement('canvas');
    c.width = v.videoWidth;
    c.height = v.videoHeight;
    c.getContext('2d')?.drawImage(v, 0, 0);
    const blob = await new Promise((done) => c.toBlob(done, 'image/jpeg', 0.92));
    if (!blob) throw new Error('this browser could not make a JPEG');
    return blob;
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.forget);
    this.video.removeEventListener('volumechange', this.onvolume);
    this.engine?.close();
    this.engine = null;
  }
}
