// The keyboard map, and one place that decides when a key press is meant for the page.
import { html, useEffect, useRef } from '../lib.js';
import { Dialog } from './dialog.js';

/** @type {[string, [string[], string][]][]} */
const map = [
  ['Everywhere', [[['?'], 'this map'], [['Ctrl K', '⌘K'], 'go to a camera or page'], [['/'], 'search cameras'], [['Esc'], 'close, or clear the clip']]],
  ['Watching', [[['Space', 'K'], 'play or pause'], [['J'], '10 s back'], [['L'], '10 s on'], [['←'], 'one frame back'], [['→'], 'one frame on'], [['G'], 'go live'], [['E'], 'end of the next gap'], [['<', '>'], 'slower, faster'], [['M'], 'sound on or off'], [['F'], 'full screen'], [['S'], 'keep a snapshot']]],
  ['Timeline', [[['I'], 'mark where a clip starts'], [['O'], 'mark where it ends'], [['D'], 'download the clip'], [['+', '−'], 'zoom'], [['Shift ←', 'Shift →'], 'look earlier or later'], [['Shift drag'], 'mark a clip']]],
];

export function Shortcuts({ onClose }) {
  return html`<${Dialog} title="Keyboard" wide=${true} onClose=${onClose}>
    <div class="g2">${[map.slice(0, 1).concat(map.slice(2)), map.slice(1, 2)].map((col) => html`<div class="stack">${col.map(([title, keys]) => html`<section key=${title}><h3 class="f">${title}</h3><div class="keys">
      ${keys.map(([ks, text]) => html`<span>${ks.map((k, i) => html`${i ? ' ' : ''}<kbd>${k}</kbd>`)}</span><span>${text}</span>`)}</div></section>`)}</div>`)}</div>
  </${Dialog}>`;
}

/** Whether the press is text for a field, or belongs to an open dialog. */
export function busy(e) {
  const t = e.target;
  if (document.querySelector('dialog[open]')) return true;
  if (t instanceof HTMLInputElement && ['range', 'checkbox', 'button'].includes(t.type)) return false;
  return t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName));
}

/** Name of a press: 'j', ' ', 'ArrowLeft', 'shift+ArrowLeft'. */
export const press = (e) => (e.key.length === 1 ? e.key.toLowerCase() : (e.shiftKey ? `shift+${e.key}` : e.key));

/** Calls the newest handler for key presses that are meant for the page. */
export function useKeys(handler) {
  const ref = useRef(handler);
  ref.current = handler;
  useEffect(() => {
    const f = (e) => {
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || busy(e)) return;
      // Space and Enter press the button that has the focus.
      if ((e.key === ' ' || e.key === 'Enter') && e.target instanceof HTMLElement && e.target.closest('button,a,summary')) return;
      if (ref.current(press(e), e)) e.preventDefault();
    };
    addEventListener('keydown', f);
    return () => removeEventListener('keydown', f);
  }, []);
}
