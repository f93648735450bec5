// The browser's own modal dialog: it keeps the focus, closes with Escape and gives the
// focus back.
import { html, useEffect, useRef, useState, useId } from '../lib.js';
import { Icon } from './icons.js';
import { words } from '../store.js';

export function Dialog({ title, onClose, children, footer, wide, className = '' }) {
  const ref = useRef(null);
  const id = useId();
  useEffect(() => {
    const d = ref.current;
    if (!d.open) d.showModal();
    return () => { if (d.open) d.close(); };
  }, []);
  const veil = (e) => { if (e.target === ref.current) onClose(); };
  return html`<dialog ref=${ref} class=${`${wide ? 'wide' : ''} ${className}`} aria-labelledby=${id} onCancel=${(e) => { e.preventDefault(); onClose(); }} onPointerDown=${veil}>
    <div class="dlg">
      <header><h2 id=${id}>${title}</h2><button type="button" class="btn sm ico" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
      <div class="body">${children}</div>
      ${footer && html`<footer>${footer}</footer>`}
    </div></dialog>`;
}

/** Asks before something that cannot be undone; typed: what must be typed to agree; mild: nothing is lost by it. */
export function Confirm({ title, typed, action, mild, onDo, onClose, children }) {
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const id = useId();
  const ready = !typed || text === typed;
  const submit = async (e) => {
    e.preventDefault();
    e.stopPropagation(); // of a form around the button that opened this
    if (!ready || busy) return;
    setBusy(true);
    try { await onDo(); } catch (err) { setError(err); setBusy(false); }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>${children}
      ${typed && html`<label class="f" htmlFor=${id}>Type <b class="mono">${typed}</b> to agree</label><input class="in" id=${id} value=${text} onInput=${(e) => setText(e.currentTarget.value)} autocomplete="off" autocapitalize="off" spellcheck=${false} autofocus />`}
      ${error && html`<p class="err" role="alert">${words(error)}</p>`}
      <div class="row" style=${{ marginTop: '16px', justifyContent: 'flex-end' }}>
        <button type="button" class="btn" onClick=${onClose}>Cancel</button>
        <button type="submit" class=${`btn pri ${mild ? '' : 'danger'}`} disabled=${!ready || busy}>${busy ? 'Working…' : action}</button></div>
    </form></${Dialog}>`;
}
