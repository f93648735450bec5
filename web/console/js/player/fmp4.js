// As much of fragmented MP4 (ISO/IEC 14496-12) as a player must read: which tracks an
// initialization section has, and where in media time a fragment lies.

/** @typedef {{id:number, kind:'video'|'audio'|'other', timescale:number, codec:string, handlerAt:number, frame:number}} InitTrack */

const u32 = (v, at) => v.getUint32(at);
const u64 = (v, at) => v.getUint32(at) * 4294967296 + v.getUint32(at + 4);
const name = (v, at) => String.fromCharCode(v.getUint8(at), v.getUint8(at + 1), v.getUint8(at + 2), v.getUint8(at + 3));
const hex = (n, w = 2) => n.toString(16).padStart(w, '0');

/** Calls visit(type, bodyStart, bodyEnd) for each box between from and to. */
function boxes(v, from, to, visit) {
  for (let at = from; at + 8 <= to;) {
    let size = u32(v, at);
    let head = 8;
    if (size === 1 && at + 16 <= to) { size = u64(v, at + 8); head = 16; }
    if (size === 0) size = to - at;
    if (size < head || at + size > to) return;
    visit(name(v, at + 4), at + head, at + size);
    at += size;
  }
}

function find(v, from, to, ...path) {
  let hit = null;
  boxes(v, from, to, (t, a, b) => { if (!hit && t === path[0]) hit = [a, b]; });
  if (!hit || path.length === 1) return hit;
  return find(v, hit[0], hit[1], ...path.slice(1));
}

const view = (data) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** @returns {InitTrack[]} the tracks of the moov in data; empty when there is none */
export function tracks(data) {
  const v = view(data);
  const out = [];
  const moov = find(v, 0, v.byteLength, 'moov');
  if (!moov) return out;
  const frames = new Map();
  const mvex = find(v, moov[0], moov[1], 'mvex');
  if (mvex) boxes(v, mvex[0], mvex[1], (t, a) => { if (t === 'trex') frames.set(u32(v, a + 4), u32(v, a + 12)); });
  boxes(v, moov[0], moov[1], (t, a, b) => {
    if (t !== 'trak') return;
    const tkhd = find(v, a, b, 'tkhd');
    const mdhd = find(v, a, b, 'mdia', 'mdhd');
    const hdlr = find(v, a, b, 'mdia', 'hdlr');
    const stsd = find(v, a, b, 'mdia', 'minf', 'stbl', 'stsd');
    if (!tkhd || !mdhd || !hdlr) return;
    const id = u32(v, tkhd[0] + (v.getUint8(tkhd[0]) === 1 ? 20 : 12));
    const handler = name(v, hdlr[0] + 8);
    out.push({
      id, handlerAt: hdlr[0] + 8, frame: frames.get(id) || 0,
      kind: handler === 'vide' ? 'video' : handler === 'soun' ? 'audio' : 'other',
      timescale: u32(v, mdhd[0] + (v.getUint8(mdhd[0]) === 1 ? 20 : 12)) || 1,
      codec: stsd ? codec(v, stsd[0] + 8, stsd[1]) : '',
    });
  });
  return out;
}

/** RFC 6381 name of the first sample entry. */
function codec(v, from, to) {
  let out = '';
  boxes(v, from, to, (type, a, b) => {
    if (out) return;
    const box = (t, skip) => find(v, a + skip, b, t);
    if (type === 'avc1' || type === 'avc3') {
      const c = box('avcC', 78);
      out = c ? `${type}.${hex(v.getUint8(c[0] + 1))}${hex(v.getUint8(c[0] + 2))}${hex(v.getUint8(c[0] + 3))}` : type;
    } else if (type === 'hvc1' || type === 'hev1') {
      const c = box('hvcC', 78);
      out = c ? `${type}.${hevc(v, c[0])}` : type;
    } else if (type === 'av01') {
      const c = box('av1C', 78);
      out = c ? av1(v, c[0]) : type;
    } else if (type === 'mp4a') {
      const c = box('esds', 28);
      out = c ? aac(v, c[0] + 4, c[1]) : 'mp4a.40.2';
    } else out = type === 'Opus' ? 'opus' : type;
  });
  return out;
}

function hevc(v, at) { // ISO/IEC 14496-15 annex E.3
  const p = v.getUint8(at + 1);
  let compat = 0;
  for (let i = 0, x = u32(v, at + 2); i < 32; i++, x >>>= 1) compat = ((compat << 1) | (x & 1)) >>> 0;
  let flags = '';
  for (let i = 11; i >= 6; i--) {
    const f = v.getUint8(at + i);
    if (f || flags) flags = `.${f.toString(16)}${flags}`;
  }
  return `${['', 'A', 'B', 'C'][p >> 6]}${p & 31}.${compat.toString(16)}.${p & 32 ? 'H' : 'L'}${v.getUint8(at + 12)}${flags}`;
}

function av1(v, at) {
  const a = v.getUint8(at + 1);
  const b = v.getUint8(at + 2);
  const depth = b & 0x40 ? (b & 0x20 ? 12 : 10) : 8;
  return `av01.${a >> 5}.${String(a & 31).padStart(2, '0')}${b & 0x80 ? 'H' : 'M'}.${String(depth).padStart(2, '0')}`;
}

function aac(v, from, to) { // ISO/IEC 14496-1 descriptors: 3 holds 4 holds 5
  let object = 0x40;
  let config = 2;
  const walk = (at, end) => {
    while (at + 2 <= end) {
      const tag = v.getUint8(at++);
      let size = 0;
      for (let b = 0x80; b & 0x80 && at < end;) { b = v.getUint8(at++); size = (size << 7) | (b & 127); }
      if (tag === 3) walk(at + 3, at + size);
      if (tag === 4) { object = v.getUint8(at); walk(at + 13, at + size); }
      if (tag === 5 && size) { config = v.getUint8(at) >> 3; }
      at += size;
    }
  };
  walk(from, to);
  return object === 0x40 ? `mp4a.40.${config}` : `mp4a.${hex(object)}`;
}

/** @param {InitTrack[]} list */
export const mime = (list) => `video/mp4; codecs="${list.filter((t) => t.kind !== 'other').map((t) => t.codec).join(',')}"`;

/**
 * Where the fragments in data lie on the track, in seconds of media time.
 * @param {InitTrack} track
 * @returns {{start:number, end:number, frame:number}|null}
 */
export function timing(data, track) {
  const v = view(data);
  let start = NaN;
  let end = NaN;
  let samples = 0;
  boxes(v, 0, v.byteLength, (type, a, b) => {
    if (type !== 'moof') return;
    boxes(v, a, b, (t, c, d) => {
      if (t !== 'traf') return;
      const tfhd = find(v, c, d, 'tfhd');
      const tfdt = find(v, c, d, 'tfdt');
      if (!tfhd || !tfdt || u32(v, tfhd[0] + 4) !== track.id) return;
      const base = v.getUint8(tfdt[0]) === 1 ? u64(v, tfdt[0] + 4) : u32(v, tfdt[0] + 4);
      const run = runs(v, c, d, defaultDuration(v, tfhd[0]) || track.frame);
      if (Number.isNaN(start)) start = base;
      end = base + run.ticks;
      samples += run.samples;
    });
  });
  if (Number.isNaN(start)) return null;
  return { start: start / track.timescale, end: end / track.timescale, frame: samples ? (end - start) / track.timescale / samples : 0 };
}

function defaultDuration(v, tfhd) {
  const flags = u32(v, tfhd) & 0xffffff;
  if (!(flags & 8)) return 0;
  return u32(v, tfhd + 8 + (flags & 1 ? 8 : 0) + (flags & 2 ? 4 : 0));
}

function runs(v, from, to, usual) {
  let ticks = 0;
  let samples = 0;
  boxes(v, from, to, (t, a) => {
    if (t !== 'trun') return;
    const flags = u32(v, a) & 0xffffff;
    const n = u32(v, a + 4);
    const step = [0x100, 0x200, 0x400, 0x800].filter((f) => flags & f).length * 4;
    let at = a + 8 + (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0);
    samples += n;
    for (let i = 0; i < n; i++, at += step) ticks += flags & 0x100 ? u32(v, at) : usual;
  });
  return { ticks, samples };
}

/**
 * Decides how this browser can play the tracks, and hides sound that it cannot play by
 * renaming its handler in place: a browser passes over tracks of kinds it does not know.
 * @returns {{mime:string, ok:boolean, video:InitTrack|undefined, clock:InitTrack|undefined, muted:string, shape:string}}
 */
export function prepare(data, supported) {
  const list = tracks(data);
  let muted = '';
  // FLAC is what G.711 comes as. It has two names; some browsers know one.
  if (!supported(mime(list))) for (const t of list) if (t.codec === 'fLaC') t.codec = 'flac';
  if (!supported(mime(list))) {
    const video = list.filter((t) => t.kind === 'video');
    if (video.length && video.length < list.length && supported(mime(video))) {
      for (const t of list) {
        if (t.kind !== 'audio') continue;
        muted = t.codec;
        data.set([0x6d, 0x65, 0x74, 0x61], t.handlerAt); // 'meta'
        t.kind = 'other';
      }
    }
  }
  const video = list.find((t) => t.kind === 'video');
  const kind = mime(list);
  return { mime: kind, ok: supported(kind), video, clock: video || list.find((t) => t.kind === 'audio'), muted, shape: list.filter((t) => t.kind !== 'other').map((t) => t.kind + t.id).join() };
}
