// Whether a camera has a loudspeaker, and the bar to talk through it, fetched when wanted.
import { html, useEffect, useState } from '../lib.js';
import { get, stream as path } from '../api.js';
import { mayChange, toast } from '../store.js';

const asked = new Map(); // name -> {at, voice}
const HOLDS = 600e3;

/** What a stream's camera takes, or null: it has none, is not known yet, or is not ours to talk to. */
export function useVoice(stream) {
  const { name } = stream;
  const may = mayChange.value && !!stream.source;
  const [found, setFound] = useState(asked.get(name)?.voice || null);
  useEffect(() => {
    const had = asked.get(name);
    if (!may || stream.talk || !stream.live || (had && Date.now() - had.at < HOLDS)) return undefined;
    let here = true;
    // The camera itself is asked: not for a page that is only passed by.
    const timer = setTimeout(() => {
      get(path(name, '/talk')).then((a) => { asked.set(name, { at: Date.now(), voice: a.talk }); if (here) setFound(a.talk); }, () => asked.set(name, { at: Date.now(), voice: null }));
    }, 1500);
    return () => { here = false; clearTimeout(timer); };
  }, [name, may, !!stream.live, !!stream.talk]);
  return may ? stream.talk || found : null;
}

export function TalkBar({ name, player, onClose }) {
  const [Part, setPart] = useState(/** @type {any} */ (null));
  useEffect(() => { import('./talkbar.js').then((m) => setPart(() => m.Bar), () => { toast('This part could not be loaded: reload the page', 'bad'); onClose(); }); }, []);
  return Part ? html`<${Part} name=${name} player=${player} onClose=${onClose} />` : null;
}
