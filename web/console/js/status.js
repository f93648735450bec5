// A stream's state in shape, colour and words, with the next step.
import { roughly, instant } from './format.js';

/**
 * @param {any} s a stream of the API
 * @returns {{tone:'ok'|'warn'|'bad'|'off', word:string, title:string, text:string, fix:''|'source'|'push'}}
 */
export function status(s, now = Date.now()) {
  const since = instant(s.since);
  const age = Number.isFinite(since) ? now - since : NaN;
  const lasting = age > 1000 ? roughly(age) : '';
  const why = sentence(s.reason);
  switch (s.state) {
    case 'live':
      if (s.lostLately > 0) return { tone: 'warn', word: 'degraded', title: 'Picture is losing data', text: lossWords(s), fix: '' };
      if (why) return { tone: 'warn', word: 'degraded', title: 'Recording, with a problem', text: why, fix: '' };
      return { tone: 'ok', word: 'healthy', title: 'Live', text: '', fix: '' };
    case 'connecting':
      return { tone: 'warn', word: 'connecting', title: s.source ? 'Connecting to the camera' : 'Waiting for the first picture', text: why, fix: '' };
    case 'denied':
      return { tone: 'bad', word: lasting ? `refused ${lasting}` : 'refused', title: 'Camera refused our password', text: why, fix: 'source' };
    case 'error':
      return { tone: 'bad', word: lasting ? `failing ${lasting}` : 'failing', title: 'Camera sends nothing we can use', text: why, fix: s.source ? 'source' : '' };
    case 'idle':
      if (s.source) return { tone: 'off', word: 'waiting', title: 'Not started yet', text: why, fix: '' };
      return { tone: 'off', word: s.last ? `silent ${lasting}`.trim() : 'never sent', title: s.last ? 'Nobody is sending' : 'Waiting for its first sender', text: why, fix: 'push' };
    default:
      return { tone: 'bad', word: lasting ? `offline ${lasting}` : 'offline', title: s.source ? 'Camera cannot be reached' : 'Nobody is sending', text: why, fix: s.source ? 'source' : 'push' };
  }
}

/** What the server says in the middle of a line, as a line of its own. */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : '');

function lossWords(s) {
  const udp = s.source?.transport === 'udp' || /udp/i.test(s.producer?.protocol || '');
  return `${s.lostLately} packets lost in the last minute${udp ? '. Set the transport to TCP, or look at the network' : ''}`;
}

export const tones = ['ok', 'warn', 'bad', 'off'];
export const healthy = (s) => status(s).tone === 'ok';
