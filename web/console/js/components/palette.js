// Go to a camera, a data stream or a page by a few letters.
import { html, useState, useEffect, useRef } from '../lib.js';
import { list } from '../store.js';
import { go } from '../router.js';
import { get } from '../api.js';
import { status } from '../status.js';
import { mayAudit } from './shell.js';
import { Dialog } from './dialog.js';
import { Dot } from './bits.js';

const pages = [['Start', ['start']], ['Cameras', ['cameras']], ['Add a camera', ['add']], ['Data streams', ['data']], ['Health', ['health']], ['Keys & settings', ['settings']], ['Audit', ['audit']]];

export function Palette({ onClose }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const box = useRef(null);
  const [data, setData] = useState(/** @type {string[]} */ ([]));
  useEffect(() => { get('v1/data').then((a) => setData((a.streams || []).map((s) => s.name)), () => {}); }, []);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hit = (name) => words.every((w) => name.toLowerCase().includes(w));
  const found = [
    ...(list.value || []).filter((s) => hit(s.name)).slice(0, 40).map((s) => ({ key: `c${s.name}`, text: s.name, tone: status(s).tone, note: 'camera', to: ['cameras', s.name] })),
    ...(text ? data : []).filter(hit).slice(0, 40).map((name) => ({ key: `d${name}`, text: name, tone: '', note: 'data stream', to: ['data', name] })),
    ...pages.filter(([t, [p]]) => hit(t) && (p !== 'audit' || mayAudit())).map(([t, to]) => ({ key: t, text: t, tone: '', note: 'page', to })),
  ];
  const sel = Math.min(at, found.length - 1);
  useEffect(() => { box.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }); }, [sel]);
  const pick = (f) => { if (f) { onClose(); go(...f.to); } };
  const key = (e) => {
    if (e.key === 'ArrowDown') setAt(Math.min(found.length - 1, sel + 1));
    else if (e.key === 'ArrowUp') setAt(Math.max(0, sel - 1));
    else if (e.key === 'Enter') pick(found[sel]);
    else return;
    e.preventDefault();
  };
  return html`<${Dialog} title="Go to" className="palette" onClose=${onClose}>
    <input class="in" autofocus role="combobox" aria-expanded="true" aria-controls="places" aria-activedescendant=${found[sel] ? `place-${sel}` : undefined} aria-label="Camera, data stream or page" placeholder="Camera, data stream or page…" value=${text} onInput=${(e) => { setText(e.currentTarget.value); setAt(0); }} onKeyDown=${key} />
    <ul id="places" role="listbox" aria-label="Places" ref=${box}>
      ${found.map((f, i) => html`<li key=${f.key} id=${`place-${i}`} role="option" aria-selected=${i === sel} onClick=${() => pick(f)} onPointerMove=${() => i !== sel && setAt(i)}>${f.tone && html`<${Dot} tone=${f.tone} />`}<span class="clip grow">${f.text}</span><span class="mut small">${f.note}</span></li>`)}
      ${!found.length && html`<li class="mut">Nothing is called that.</li>`}
    </ul></${Dialog}>`;
}
