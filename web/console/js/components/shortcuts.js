// The keyboard map.
import { html } from '../lib.js';
import { Dialog } from './dialog.js';

/** @type {[string, [string[], string][]][]} */
const map = [
  ['Everywhere', [[['?'], 'this map'], [['Ctrl K', '⌘K'], 'go to a camera, data stream or page'], [['/'], 'search cameras'], [['Esc'], 'close, or clear the clip']]],
  ['Watching', [[['Space', 'K'], 'play or pause'], [['J'], '10 s back'], [['L'], '10 s on'], [['←'], 'one frame back'], [['→'], 'one frame on'], [['G'], 'go live'], [['E', 'Shift E'], 'next event, event before'], [['N', 'Shift N'], 'next gap, gap before'], [['<', '>'], 'slower, faster'], [['M'], 'sound on or off'], [['F'], 'full screen'], [['S'], 'keep a snapshot'], [['T'], 'talk to the camera']]],
  ['Timeline', [[['I'], 'mark where a clip starts'], [['O'], 'mark where it ends'], [['D'], 'download the clip'], [['P'], 'keep the clip from retention'], [['B'], 'mark what is shown now'], [['R'], 'record an event, or stop it'], [['+', '−'], 'zoom'], [['Shift ←', 'Shift →'], 'look earlier or later'], [['Shift drag'], 'mark a clip']]],
];

export function Shortcuts({ onClose }) {
  return html`<${Dialog} title="Keyboard" wide=${true} onClose=${onClose}>
    <div class="g2 pair">${[map.slice(0, 1).concat(map.slice(2)), map.slice(1, 2)].map((col) => html`<div class="stack">${col.map(([title, keys]) => html`<section key=${title}><h3 class="f">${title}</h3><div class="keys">
      ${keys.map(([ks, text]) => html`<span>${ks.map((k, i) => html`${i ? ' ' : ''}<kbd>${k}</kbd>`)}</span><span>${text}</span>`)}</div></section>`)}</div>`)}</div>
  </${Dialog}>`;
}
