// Dialogs about a stream, fetched when the first is opened.
import { html, useEffect, useState } from '../lib.js';
import { toast } from '../store.js';

/** The dialog that is open: kind is '', 'edit', 'retention', 'push', 'delete' or 'password'. */
export function StreamDialog({ kind, stream, onClose, onSwitch }) {
  const [parts, setParts] = useState(null);
  useEffect(() => {
    if (!kind || parts) return;
    import('./edit.js').then((m) => setParts(m.parts), () => { toast('This dialog could not be loaded: reload the page', 'bad'); onClose(); });
  }, [kind]);
  const part = kind && parts?.[kind];
  if (!part || (kind !== 'password' && !stream)) return null;
  return html`<${part} stream=${stream} onClose=${onClose} onSwitch=${onSwitch} key=${kind} />`;
}
