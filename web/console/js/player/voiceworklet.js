// @ts-nocheck: the types of a page do not know what a worklet has
// Runs beside the page, where the microphone's samples come: brings them to the rate of
// telephones, makes G.711 of them, and sends frames of 20 ms with how loud they are.
// It imports nothing: a worklet is a world of its own.

/** Low-pass filter: what a lower rate cannot carry must not fold back as noise. */
function taps(cutoff, n) {
  const h = new Float32Array(n);
  const mid = (n - 1) / 2;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const x = i - mid;
    const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x);
    h[i] = sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * i) / Math.max(1, n - 1)));
    sum += h[i];
  }
  for (let i = 0; i < n; i++) h[i] /= sum;
  return h;
}

/** ITU-T G.711 µ-law of a sample of 16 bits. */
function ulaw(pcm) {
  const sign = pcm < 0 ? 0x80 : 0;
  const x = Math.min(32635, Math.abs(pcm)) + 132;
  let exponent = 7;
  for (let mask = 0x4000; exponent > 0 && !(x & mask); mask >>= 1) exponent--;
  return ~(sign | (exponent << 4) | ((x >> (exponent + 3)) & 15)) & 255;
}

/** ITU-T G.711 A-law of a sample of 16 bits. */
function alaw(pcm) {
  let x = pcm >> 3;
  const mask = x >= 0 ? 0xd5 : 0x55;
  if (x < 0) x = -x - 1;
  let segment = 0;
  while (segment < 8 && x > (0x20 << segment) - 1) segment++;
  if (segment >= 8) return 0x7f ^ mask;
  return ((segment << 4) | ((x >> (segment < 2 ? 1 : segment)) & 15)) ^ mask;
}

class Voice extends AudioWorkletProcessor {
  constructor(options) {
    super();
    const { codec, rate } = options.processorOptions;
    this.encode = codec === 'PCMA' ? alaw : ulaw;
    this.ratio = sampleRate / rate;
    const n = this.ratio > 1 ? Math.ceil(this.ratio * 8) * 2 + 1 : 1;
    this.h = this.ratio > 1 ? taps((0.425 * rate) / sampleRate, n) : new Float32Array([1]);
    this.past = new Float32Array(n); // the newest samples of before, for the filter
    this.at = 0; // place of the next output, in samples after past
    this.frame = new Uint8Array(Math.round(rate / 50));
    this.filled = 0;
    this.loud = 0;
  }

  process([input]) {
    if (!input || !input.length) return true;
    const size = input[0].length;
    const n = this.h.length;
    const x = new Float32Array(n + size);
    x.set(this.past);
    for (const channel of input) for (let i = 0; i < size; i++) x[n + i] += channel[i] / input.length;
    for (; this.at + 1 < size; this.at += this.ratio) {
      const i = Math.floor(this.at);
      const part = this.at - i;
      let a = 0;
      let b = 0;
      for (let k = 0; k < n; k++) { a += this.h[k] * x[i + 1 + k]; b += this.h[k] * x[i + 2 + k]; }
      this.put(a + (b - a) * part);
    }
    this.at -= size;
    this.past = x.slice(size);
    return true;
  }

  put(v) {
    this.loud = Math.max(this.loud, Math.abs(v));
    this.frame[this.filled++] = this.encode(Math.round(Math.max(-1, Math.min(1, v)) * 32767));
    if (this.filled < this.frame.length) return;
    const bytes = this.frame.slice();
    this.port.postMessage({ bytes, loud: this.loud }, [bytes.buffer]);
    this.filled = 0;
    this.loud = 0;
  }
}

registerProcessor('voice', Voice);
