// One place that decides when a key press is meant for the page.
import { useEffect, useRef } from '../lib.js';

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
