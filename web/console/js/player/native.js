// The browser's own HLS, for those without MSE (older iPhones). The media token in the
// address is short-lived; each new address gets a new one.
import { address, post, stream, iso } from '../api.js';

const WINDOW = 3600e3; // of one playlist on demand

export class Native {
  /** @param {HTMLVideoElement} video @param {{onstate?:(s:any)=>void, live:boolean}} o */
  constructor(video, name, o) {
    this.video = video;
    this.name = name;
    this.o = o;
    this.playing = true;
    this.rate = 1;
    this.frame = 0.04;
    this.base = NaN;
    this.onplaying = () => o.onstate?.({ kind: 'playing' });
    this.onerror = () => { if (!this.closed) o.onstate?.({ kind: 'error', text: 'This browser could not play the stream' }); };
    video.addEventListener('playing', this.onplaying);
    video.addEventListener('error', this.onerror);
    if (o.live) this.open('/live.m3u8', {});
  }

  async open(path, query) {
    this.o.onstate?.({ kind: 'loading' });
    try {
      const { token } = await post(stream(this.name, '/token'), { ttl: '1h' });
      if (this.closed) return;
      this.video.src = address(stream(this.name, path), { ...query, token }).href;
      this.video.playbackRate = this.rate;
      if (this.playing) this.video.play().catch(() => {});
    } catch (err) { this.o.onstate?.({ kind: 'error', error: err }); }
  }

  get time() {
    const v = /** @type {any} */ (this.video);
    const date = v.getStartDate?.()?.getTime();
    return (Number.isFinite(date) ? date : this.base) + v.currentTime * 1000;
  }

  seek(t) {
    const at = (t - this.base) / 1000;
    if (at >= 0 && at < this.video.duration) { this.video.currentTime = at; return; }
    this.base = t;
    this.open('/vod.m3u8', { start: iso(t), end: iso(Math.min(t + WINDOW, Date.now())) });
  }

  play() { this.playing = true; this.video.play().catch(() => {}); }
  pause() { this.playing = false; this.video.pause(); }
  speed(r) { this.rate = r; this.video.playbackRate = r; }
  step(n) { this.pause(); this.video.currentTime += n * this.frame; }

  close() {
    this.closed = true;
    this.video.removeEventListener('playing', this.onplaying);
    this.video.removeEventListener('error', this.onerror);
    this.video.removeAttribute('src');
    this.video.load();
  }
}
