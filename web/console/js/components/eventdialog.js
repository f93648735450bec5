// Dialogs about events, fetched when the first is opened.
import { html, useEffect, useState } from '../lib.js';
import { toast } from '../store.js';

/** The dialog that is open; what: null, or its kind ('keep', 'record', 'edit', 'delete', 'list') and what it is about. */
export function EventDialog({ what, stream, events, marking, onClose }) {
  const [parts, setParts] = useState(null);
  useEffect(() => {
    if (!what || parts) return;
    import('./eventforms.js').then((m) => setParts(m.parts), () => { toast('This dialog could not be loaded: reload the page', 'bad'); onClose(); });
  }, [what]);
  const part = what && parts?.[what.kind];
  if (!part) return null;
  return html`<${part} ...${what} stream=${stream} events=${events} marking=${marking} onClose=${onClose} key=${what.kind + (what.event?.id || '')} />`;
}
