// A call to a camera's loudspeaker: the microphone, and the socket that carries it.
import { address, stream as path } from '../api.js';

/** What stands between a page and a microphone, in words with the next step; '' if nothing does. */
export function noMicrophone() {
  if (!globalThis.isSecureContext) return 'Browsers give a microphone only to pages that come by https, or from this machine itself. Open the console by https.';
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.AudioWorkletNode) return 'This browser cannot record sound for a page. A newer one can.';
  return '';
}

/** Words for what getUserMedia refused. */
function refusal(err) {
  switch (err?.name) {
    case 'NotAllowedError': case 'SecurityError': return 'The microphone was not allowed. Allow it for this page beside the address, then call again.';
    case 'NotFoundError': case 'OverconstrainedError': return 'No microphone was found. Connect one, then call again.';
    case 'NotReadableError': case 'AbortError': return 'The microphone cannot be read: another program may hold it.';
    default: return `The microphone could not be opened: ${err?.message || err}`;
  }
}

/** One call. onstate: {kind: 'mic'|'calling'|'ready'|'ended', text}; onlevel: 0 to 1. */
export class Call {
  /** @param {string} name @param {{onstate:(s:{kind:string,text:string})=>void, onlevel:(v:number)=>void}} o */
  constructor(name, o) {
    this.name = name;
    this.o = o;
    this.speaking = false;
    this.sent = 0;
    this.begin();
  }

  say(kind, text = '') { if (!this.over) this.o.onstate({ kind, text }); }

  async begin() {
    const why = noMicrophone();
    if (why) return this.end(why);
    this.say('mic');
    // Before anything is waited for: a browser lets sound run only from within a click.
    const audio = new AudioContext({ latencyHint: 'interactive' });
    this.audio = audio;
    try {
      const media = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
      if (this.over) return media.getTracks().forEach((t) => t.stop());
      this.media = media;
      media.getTracks().forEach((t) => { t.onended = () => this.end('The microphone is gone.'); });
    } catch (err) { return this.end(refusal(err)); }
    try { await Promise.all([audio.audioWorklet.addModule(new URL('./voiceworklet.js', import.meta.url)), audio.resume()]); } catch (err) { return this.end(`The sound could not be prepared: ${err.message}`); }
    if (!this.over) this.dial();
    return undefined;
  }

  dial() {
    this.say('calling');
    const url = address(path(this.name, '/talk'));
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const ws = new WebSocket(url);
    this.ws = ws;
    ws.onmessage = (e) => {
      let m = /** @type {any} */ ({});
      try { m = JSON.parse(e.data); } catch { /* not ours */ }
      if (m.error) this.end(typeof m.error === 'string' ? m.error : [m.error.message, m.error.hint].filter(Boolean).join('. '));
      else if (m.codec && !this.node) this.speak(m);
    };
    ws.onclose = () => this.end(this.node ? 'The call ended.' : 'The call was refused, or the server does not answer.');
  }

  speak({ codec, rate }) {
    if (this.over) return;
    if (codec !== 'PCMU' && codec !== 'PCMA') { this.end(`The camera takes ${codec}, which this page cannot make.`); return; }
    const node = new AudioWorkletNode(this.audio, 'voice', { numberOfOutputs: 0, processorOptions: { codec, rate } });
    this.node = node;
    node.port.onmessage = ({ data }) => {
      this.o.onlevel(data.loud);
      // What a slow network cannot carry is not said late: it is not said.
      if (this.speaking && this.ws?.readyState === WebSocket.OPEN && this.ws.bufferedAmount < 16000) { this.ws.send(data.bytes); this.sent++; }
    };
    this.audio.createMediaStreamSource(this.media).connect(node);
    this.say('ready');
  }

  end(text = '') {
    if (this.over) return;
    this.say('ended', text);
    this.over = true;
    this.speaking = false;
    if (this.ws) { this.ws.onclose = null; this.ws.onmessage = null; this.ws.close(); }
    this.media?.getTracks().forEach((t) => { t.onended = null; t.stop(); });
    this.audio?.close().catch(() => {});
  }
}
