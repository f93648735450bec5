// Words for times, spans and sizes. Instants are milliseconds since 1970; they are shown
// in the viewer's zone, through Date, which knows about daylight saving.

const two = (n) => String(n).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** Milliseconds of an RFC 3339 text, a number of milliseconds, or NaN. */
export const instant = (v) => (v == null || v === '' ? NaN : typeof v === 'number' ? v : Date.parse(v));

/** 14:32:53, with .160 when precise. */
export function clock(ms, precise = false) {
  if (!Number.isFinite(ms)) return '–';
  const d = new Date(ms);
  const s = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return precise ? `${s}.${String(d.getMilliseconds()).padStart(3, '0')}` : s;
}

export function hourMinute(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}`;
}

/** 20 Nov, or 20 Nov 2025 when it is another year than now. */
export function day(ms, now = Date.now()) {
  const d = new Date(ms);
  const year = d.getFullYear() === new Date(now).getFullYear() ? '' : ` ${d.getFullYear()}`;
  return `${d.getDate()} ${MONTHS[d.getMonth()]}${year}`;
}

export const weekday = (ms) => DAYS[new Date(ms).getDay()];

/** The shortest text that is clear now: 14:32, yesterday 14:32, 20 Nov 14:32. */
export function when(ms, now = Date.now()) {
  if (!Number.isFinite(ms)) return '–';
  const midnight = startOfDay(now);
  if (ms >= midnight && ms < now + 864e5) return hourMinute(ms);
  if (ms >= startOfDay(midnight - 1)) return `yesterday ${hourMinute(ms)}`;
  return `${day(ms, now)} ${hourMinute(ms)}`;
}

/** Full local time with its offset, and UTC: for titles. */
export function full(ms) {
  if (!Number.isFinite(ms)) return '';
  return `${weekday(ms)} ${day(ms, 0)} ${clock(ms, true)} ${zone(ms)}\n${new Date(ms).toISOString().replace('T', ' ').replace('Z', ' UTC')}`;
}

/** UTC, UTC+1, UTC−3:30. */
export function zone(ms) {
  const m = -new Date(ms).getTimezoneOffset();
  const a = Math.abs(m);
  return !m ? 'UTC' : `UTC${m < 0 ? '−' : '+'}${Math.floor(a / 60)}${a % 60 ? `:${two(a % 60)}` : ''}`;
}

export function startOfDay(ms) {
  const d = new Date(ms);
  return new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
}

/** The next local midnight: 23, 24 or 25 hours on. */
export function nextDay(ms, n = 1) {
  const d = new Date(ms);
  return new Date(d.getFullYear(), d.getMonth(), d.getDate() + n).getTime();
}

/** 1 m 12 s, 6 d 4 h, 0.4 s: at most two units. */
export function span(ms) {
  if (!Number.isFinite(ms)) return '–';
  const s = Math.abs(ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${Number(s.toFixed(1))} s`;
  const r = Math.round(s);
  if (r < 60) return `${r} s`;
  const units = [['y', 31536000], ['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];
  const i = units.findIndex(([, n]) => r >= /** @type {number} */ (n));
  const [u, n] = /** @type {[string, number]} */ (units[i]);
  const rest = units[i + 1] ? Math.floor((r % n) / /** @type {number} */ (units[i + 1][1])) : 0;
  return `${Math.floor(r / n)} ${u}${rest ? ` ${rest} ${units[i + 1][0]}` : ''}`;
}

/** The coarsest true unit: 13 min, 2 h, 6 d. */
export function roughly(ms) {
  const s = Math.max(0, ms / 1000);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

/** 1.26 TB, decimal units as disks are sold. */
export function bytes(n) {
  if (!Number.isFinite(n)) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return `${i === 0 || n >= 100 ? Math.round(n) : Number(n.toFixed(n >= 10 ? 1 : 2))} ${units[i]}`;
}

/** 3.9 Mb/s of bits a second. */
export function rate(bits) {
  if (!bits) return '0 b/s';
  if (bits >= 1e6) return `${Number((bits / 1e6).toFixed(1))} Mb/s`;
  return `${Math.max(1, Math.round(bits / 1e3))} kb/s`;
}

export const count = (n) => Number(n || 0).toLocaleString('en-US');

/** Milliseconds of a Go duration with days: 24h, 30d, 1h30m. NaN when it is none. */
export function duration(text) {
  const unit = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5, y: 31536e6 };
  let sum = 0;
  let rest = String(text ?? '').trim().replace(/\s+/g, '');
  if (!rest) return NaN;
  while (rest) {
    const m = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)/.exec(rest);
    if (!m) return NaN;
    sum += Number(m[1]) * unit[m[2]];
    rest = rest.slice(m[0].length);
  }
  return sum;
}

/** 30 d, 12 h: a retention for people. */
export function kept(text) {
  const ms = duration(text);
  if (!Number.isFinite(ms)) return text || '–';
  if (ms % 31536e6 === 0) return plural(ms / 31536e6, 'year');
  return ms % 864e5 === 0 && ms >= 1728e5 ? `${ms / 864e5} d` : `${Number((ms / 36e5).toFixed(1))} h`;
}

export const plural = (n, word, words) => `${count(n)} ${n === 1 ? word : words || `${word}s`}`;

const CODECS = { h264: 'H.264', h265: 'H.265', av1: 'AV1', aac: 'AAC', opus: 'Opus', pcma: 'G.711 A-law', pcmu: 'G.711 µ-law', mjpeg: 'Motion JPEG' };
export const codecName = (c) => CODECS[c] || c || '';

/** 1080p25, 4K20, 640×360. */
export function picture(track, fps) {
  if (!track || !track.height) return '';
  const names = { 2160: '4K', 1440: '1440p', 1080: '1080p', 720: '720p', 576: '576p', 540: '540p', 480: '480p', 360: '360p', 240: '240p' };
  const wide = track.width / track.height > 1.2;
  const size = wide && names[track.height] ? names[track.height] : `${track.width}×${track.height}`;
  // What is measured swings a little: the camera's own word holds while they agree.
  const near = track.fps && fps && Math.abs(fps / track.fps - 1) < 0.2;
  const f = Math.round((near ? track.fps : fps || track.fps) || 0);
  return f ? (size.includes('×') ? `${size} · ${f} fps` : `${size}${f}`) : size;
}

/** What a stream carries: 1080p25 H.264 + AAC. */
export function format(stream) {
  const video = (stream.tracks || []).find((t) => t.kind === 'video');
  const audio = (stream.tracks || []).find((t) => t.kind === 'audio');
  const parts = [];
  if (video) parts.push(`${picture(video, stream.fps)} ${codecName(video.codec)}`.trim());
  if (audio) parts.push(codecName(audio.codec));
  return parts.join(' + ');
}
