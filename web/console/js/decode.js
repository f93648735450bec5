// What the bytes of a record are, for people: JSON, CBOR (RFC 8949), lines of CSV, text,
// or hexadecimal digits. Nothing here trusts what it reads.

const DEPTH = 32;

/** @param {string} text @returns {Uint8Array} */
export function fromBase64(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

export function hex(bytes, most = 256) {
  let out = '';
  for (let i = 0; i < bytes.length && i < most; i++) out += (i ? ' ' : '') + bytes[i].toString(16).padStart(2, '0');
  return bytes.length > most ? `${out} …` : out;
}

function utf8(bytes) {
  try { return new TextDecoder('utf-8', { fatal: true }).decode(bytes); } catch { return null; }
}

// Tabs and line ends are text; other control characters are not.
const printable = (s) => !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(s);

/** Reads one CBOR item that takes up all of bytes; throws when it is none. */
export function cbor(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const need = (n) => { if (at + n > bytes.length) throw new Error('it ends too soon'); };
  const take = (n) => { need(n); const b = bytes.subarray(at, at + n); at += n; return b; };
  function size(low) {
    if (low < 24) return low;
    if (low > 27) throw new Error('no such length');
    const n = 1 << (low - 24);
    need(n);
    const v = n === 1 ? view.getUint8(at) : n === 2 ? view.getUint16(at) : n === 4 ? view.getUint32(at) : view.getBigUint64(at);
    at += n;
    return typeof v === 'bigint' && v <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(v) : v;
  }
  const stop = () => { need(1); if (bytes[at] !== 0xff) return false; at++; return true; };
  function chunks(major, low) {
    if (low !== 31) return [take(Number(size(low)))];
    const parts = [];
    while (!stop()) { const b = take(1)[0]; if (b >> 5 !== major) throw new Error('mixed chunks'); parts.push(take(Number(size(b & 31)))); }
    return parts;
  }
  function many(low, each) {
    if (low === 31) { while (!stop()) each(); return; }
    const n = Number(size(low));
    if (n > bytes.length) throw new Error('more items than bytes');
    for (let i = 0; i < n; i++) each();
  }
  function item(depth) {
    if (depth > DEPTH) throw new Error('too deep');
    const b = take(1)[0];
    const major = b >> 5;
    const low = b & 31;
    if (major === 0) return plain(size(low));
    if (major === 1) { const n = size(low); return typeof n === 'bigint' ? String(-1n - n) : -1 - n; }
    if (major === 2) return `h'${chunks(2, low).map((c) => hex(c, 1e6).replace(/ /g, '')).join('')}'`;
    if (major === 3) { const parts = chunks(3, low).map(utf8); if (parts.includes(null)) throw new Error('not UTF-8'); return parts.join(''); }
    if (major === 4) { const list = []; many(low, () => list.push(item(depth + 1))); return list; }
    if (major === 5) {
      const map = Object.create(null);
      many(low, () => { const k = item(depth + 1); map[typeof k === 'string' ? k : JSON.stringify(k)] = item(depth + 1); });
      return map;
    }
    if (major === 6) { size(low); return item(depth + 1); }
    if (low === 20 || low === 21) return low === 21;
    if (low === 22 || low === 23) return null;
    if (low === 25) { need(2); const v = half(view.getUint16(at)); at += 2; return v; }
    if (low === 26) { need(4); const v = view.getFloat32(at); at += 4; return Number(v.toPrecision(7)); }
    if (low === 27) { need(8); const v = view.getFloat64(at); at += 8; return v; }
    throw new Error('no such value');
  }
  const v = item(0);
  if (at !== bytes.length) throw new Error('bytes are left over');
  return v;
}

const plain = (n) => (typeof n === 'bigint' ? String(n) : n);

function half(h) {
  const exp = (h >> 10) & 31;
  const frac = h & 1023;
  const v = exp === 0 ? frac * 2 ** -24 : exp === 31 ? (frac ? NaN : Infinity) : (1 + frac / 1024) * 2 ** (exp - 15);
  return h & 0x8000 ? -v : v;
}

/** What one decoder makes of bytes, or null. */
export const decoders = {
  json(bytes) {
    const s = utf8(bytes);
    if (s === null) return null;
    try { return { kind: 'JSON', text: s.trim(), value: JSON.parse(s) }; } catch { return null; }
  },
  cbor(bytes) {
    try { const value = cbor(bytes); return { kind: 'CBOR', text: JSON.stringify(value), value }; } catch { return null; }
  },
  csv(bytes) {
    const s = utf8(bytes);
    if (s === null || !printable(s) || !s.includes(',')) return null;
    return { kind: 'CSV', text: s.trimEnd(), value: s.trimEnd().split(/\r?\n/).map((l) => l.split(',')) };
  },
  text(bytes) {
    const s = utf8(bytes);
    return s === null || !printable(s) ? null : { kind: 'text', text: s, value: s };
  },
  hex(bytes) { return { kind: 'hex', text: hex(bytes), value: null }; },
};

/**
 * Decodes bytes as one of decoders, or as the first that fits: a bare number or word in
 * JSON is text to people, and CBOR is believed only where it is a map or a list.
 * @param {Uint8Array} bytes @param {string} [as]
 */
export function decode(bytes, as = 'auto') {
  if (as !== 'auto') return decoders[as]?.(bytes) || { ...decoders.hex(bytes), kind: `not ${as.toUpperCase()}` };
  const json = decoders.json(bytes);
  if (json && typeof json.value === 'object' && json.value !== null) return json;
  const text = decoders.text(bytes);
  if (text) return text;
  const c = decoders.cbor(bytes);
  if (c && typeof c.value === 'object' && c.value !== null) return c;
  return decoders.hex(bytes);
}
