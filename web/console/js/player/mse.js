// A SourceBuffer with a queue: MSE takes one operation at a time.

const scope = /** @type {any} */ (globalThis);

/** The browser's MediaSource; iPhones have only the managed kind, old ones none. */
export const Source = scope.ManagedMediaSource || scope.MediaSource || null;
export const supported = (mime) => !!Source && Source.isTypeSupported(mime);

/** What the browser can show of a stream's tracks, asked before anything is fetched. */
export function playable(stream) {
  const video = (stream.tracks || []).find((t) => t.kind === 'video');
  if (!video || !video.mime || !Source) return true;
  const m = video.mime.includes('/') ? video.mime : `video/mp4; codecs="${video.mime}"`;
  return supported(m);
}

export class Buffer {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
    this.sb = /** @type {SourceBuffer|null} */ (null);
    this.jobs = [];
    this.busy = false;
    this.dead = false;
    this.mime = '';
    this.onerror = (_err) => {};
    const ms = new Source();
    this.ms = ms;
    this.opened = new Promise((done) => ms.addEventListener('sourceopen', () => done(undefined), { once: true }));
    if (scope.ManagedMediaSource && ms instanceof scope.ManagedMediaSource) video.disableRemotePlayback = true;
    this.url = URL.createObjectURL(ms);
    video.src = this.url;
  }

  /** Makes the SourceBuffer, or changes what it takes. */
  async type(mime, duration) {
    await this.opened;
    if (this.dead || this.mime === mime) return;
    if (!this.sb) {
      if (duration) this.ms.duration = duration;
      const sb = this.ms.addSourceBuffer(mime);
      sb.mode = 'segments';
      sb.addEventListener('updateend', () => { this.busy = false; this.next(); });
      this.sb = sb;
    } else {
      await this.run(() => this.sb?.changeType(mime), false);
    }
    this.mime = mime;
  }

  /** Appends data at an offset of media time, when one is given. */
  append(data, offset) {
    return this.run(() => {
      const sb = /** @type {SourceBuffer} */ (this.sb);
      if (offset !== undefined && Math.abs(sb.timestampOffset - offset) > 1e-6) sb.timestampOffset = offset;
      sb.appendBuffer(data);
    }, true);
  }

  remove(from, to) {
    if (!(to > from)) return Promise.resolve();
    return this.run(() => this.sb?.remove(from, to), true);
  }

  run(work, waits) {
    return new Promise((done, fail) => { this.jobs.push({ work, waits, done, fail }); this.next(); });
  }

  next() {
    if (this.busy || this.dead) return;
    if (this.last) { this.last.done(); this.last = null; }
    const job = this.jobs.shift();
    if (!job) return;
    try {
      if (this.video.error) throw this.video.error;
      job.work();
      if (job.waits) { this.busy = true; this.last = job; } else { job.done(); this.next(); }
    } catch (err) {
      if (err.name === 'QuotaExceededError') return this.makeRoom(job);
      job.fail(err);
      this.onerror(err);
    }
  }

  /** The browser's buffer is full: drop what lies behind, then try again. */
  makeRoom(job) {
    const t = this.video.currentTime;
    const from = this.ranges()[0]?.[0];
    this.jobs.unshift(job);
    if (from === undefined || from >= t - 3) { this.jobs.shift(); job.fail(new Error('the browser has no room for this video')); return; }
    this.jobs.unshift({ work: () => this.sb?.remove(from, t - 2), waits: true, done() {}, fail() {} });
    this.next();
  }

  /** @returns {[number, number][]} */
  ranges() {
    /** @type {[number, number][]} */
    const out = [];
    try {
      const b = this.sb?.buffered;
      for (let i = 0; b && i < b.length; i++) out.push([b.start(i), b.end(i)]);
    } catch { /* removed from its source: nothing is buffered */ }
    return out;
  }

  close() {
    if (this.dead) return;
    this.dead = true;
    for (const j of this.jobs) j.fail(new DOMException('closed', 'AbortError'));
    this.last?.fail(new DOMException('closed', 'AbortError'));
    this.jobs = [];
    if (this.video.src === this.url) { this.video.removeAttribute('src'); this.video.load(); }
    URL.revokeObjectURL(this.url);
  }
}
