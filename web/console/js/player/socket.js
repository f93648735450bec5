// One WebSocket carries all live streams of a page. The stream in its address has id 0;
// the others are added and removed by message.
import { address, stream } from '../api.js';

/**
 * @typedef {{init:(m:any, data?:Uint8Array)=>void, part:(data:Uint8Array, serverUS:number, sync:boolean)=>void,
 *   state:(m:any)=>void, skipped:(n:number)=>void, error:(message:string)=>void}} Handler
 */

class Socket {
  constructor() {
    this.subs = new Map(); // id -> {name, audio, handler}
    this.ids = 1;
    this.ws = null;
    this.wait = 500;
    this.timer = 0;
    this.zero = -1; // our id of the stream that the server calls 0
  }

  /** @param {Handler} handler @returns {() => void} ends it */
  subscribe(name, audio, handler) {
    const id = this.ids++;
    this.subs.set(id, { name, audio, handler });
    if (!this.ws) this.open(); else if (this.ws.readyState === WebSocket.OPEN) this.add(id);
    return () => this.unsubscribe(id);
  }

  unsubscribe(id) {
    if (!this.subs.delete(id)) return;
    if (!this.subs.size) return this.close();
    this.send({ remove: id === this.zero ? 0 : id });
    if (id === this.zero) this.zero = -1;
  }

  add(id) {
    const s = this.subs.get(id);
    this.send({ add: s.name, id, audio: s.audio });
  }

  send(m) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(m));
  }

  open() {
    clearTimeout(this.timer);
    const first = this.subs.entries().next().value;
    if (!first) return;
    const [id, sub] = first;
    const url = address(stream(sub.name, '/ws'), sub.audio ? {} : { audio: 'false' });
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const ws = new WebSocket(url);
    ws.binaryType = 'arraybuffer';
    this.ws = ws;
    this.zero = id;
    ws.onopen = () => {
      if (ws !== this.ws) return;
      for (const k of this.subs.keys()) if (k !== this.zero) this.add(k);
      if (!this.subs.has(this.zero)) this.send({ remove: 0 });
    };
    ws.onmessage = (e) => { if (ws === this.ws) this.take(e.data); };
    ws.onclose = () => { if (ws === this.ws) { this.ws = null; this.later(); } };
  }

  later() {
    if (!this.subs.size) return;
    // The stream in the address may be what refused us: let another be first.
    const first = this.subs.keys().next().value;
    const sub = this.subs.get(first);
    this.subs.delete(first);
    this.subs.set(first, sub);
    for (const s of this.subs.values()) s.handler.state({ status: 'reconnecting' });
    this.timer = setTimeout(() => this.open(), this.wait * (0.8 + Math.random() * 0.4));
    this.wait = Math.min(this.wait * 2, 8000);
  }

  take(data) {
    if (typeof data === 'string') {
      let m;
      try { m = JSON.parse(data); } catch { return; }
      const h = this.handler(m.id || 0);
      if (!h) return;
      if (m.type === 'init') { this.wait = 500; h.init(m); }
      if (m.type === 'state') h.state(m);
      if (m.type === 'skipped') h.skipped(m.samples || 0);
      if (m.type === 'error') h.error(m.message || 'the server cannot send this stream');
      return;
    }
    if (data.byteLength < 12) return;
    const v = new DataView(data);
    const h = this.handler(v.getUint16(2));
    if (!h) return;
    const at = v.getUint32(4) * 4294967296 + v.getUint32(8);
    const body = new Uint8Array(data, 12);
    if (v.getUint8(0) === 1) h.init(null, body);
    if (v.getUint8(0) === 2) h.part(body, at, (v.getUint8(1) & 1) === 1);
  }

  handler(id) { return this.subs.get(id === 0 ? this.zero : id)?.handler; }

  close() {
    clearTimeout(this.timer);
    const ws = this.ws;
    this.ws = null;
    ws?.close();
  }
}

const shared = new Socket();
export const subscribe = (name, audio, handler) => shared.subscribe(name, audio, handler);
