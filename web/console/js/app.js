// Starts the console: who is signed in decides what is shown, the address decides which
// page. Pages other than the first are fetched when they are asked for, or a little later.
import { html, render, useEffect, useState } from './lib.js';
import { session, outage, start, list, streamsError } from './store.js';
import { route } from './router.js';
import { Shell, Toasts, panel } from './components/shell.js';
import { busy } from './components/keys.js';
import { Spinner } from './components/bits.js';

const pages = {
  signin: () => import('./pages/signin.js'),
  start: () => import('./pages/start.js'),
  cameras: () => import('./pages/cameras.js'),
  camera: () => import('./pages/camera.js'),
  add: () => import('./pages/add.js'),
  data: () => import('./pages/data.js'),
  datastream: () => import('./pages/datastream.js'),
  health: () => import('./pages/health.js'),
  settings: () => import('./pages/settings.js'),
  audit: () => import('./pages/audit.js'),
  lost: () => import('./pages/lost.js'),
};
const panels = {
  keys: () => import('./components/shortcuts.js').then((m) => m.Shortcuts),
  palette: () => import('./components/palette.js').then((m) => m.Palette),
};
const titles = { start: 'Start', cameras: 'Cameras', add: 'Add a camera', data: 'Data streams', health: 'Health', settings: 'Keys & settings', audit: 'Audit', signin: 'Sign in', lost: 'Not found' };

/** The place of the frame that a page belongs to, where it is not its own. */
const places = { camera: 'cameras', add: 'cameras', datastream: 'data' };

/** The page that an address means. */
function pageOf(path) {
  const [first, second] = path;
  if (!first && !list.value && !streamsError.value) return ''; // known in a moment: neither page flashes by
  if (!first) return list.value?.some((s) => !s.demo) ? 'cameras' : 'start';
  if (first === 'cameras') return second ? 'camera' : 'cameras';
  if (first === 'data') return second ? 'datastream' : 'data';
  return ['start', 'add', 'health', 'settings', 'audit'].includes(first) ? first : 'lost';
}

/** Shows what load() brings; a failed fetch says so instead of a white page. */
function Later({ load, id, props }) {
  const [got, setGot] = useState({ id: '', part: null, failed: false });
  const away = !!outage.value; // what could not be fetched is fetched once the server is back
  useEffect(() => {
    if (away && got.id === id && got.part) return undefined;
    let here = true;
    load().then((m) => here && setGot({ id, part: m.default || m, failed: false }), () => here && setGot({ id, part: null, failed: true }));
    return () => { here = false; };
  }, [id, away]);
  if (got.id !== id) return html`<p class="boot" aria-busy="true"></p>`;
  if (got.failed && away) return html`<p class="boot" role="status">This page comes as soon as the server answers.</p>`;
  if (got.failed) return html`<p class="boot" role="alert">This part of the console could not be loaded. <button class="btn" onClick=${() => location.reload()}>Reload</button></p>`;
  return html`<${got.part} ...${props} />`;
}

function App() {
  const who = session.value;
  const { path } = route.value;
  const page = who ? pageOf(path) : 'signin';
  useEffect(() => { if (page) document.title = `${titles[page] || path[1]} · penstock`; }, [page, path[1]]);
  // Once the first pictures run, the other pages are fetched too, so that none keeps anyone waiting.
  useEffect(() => { if (who) setTimeout(() => Object.values(pages).forEach((f) => f().catch(() => {})), 3000); }, [!!who]);
  if (who === undefined) return html`<div class="boot">${outage.value ? 'The server does not answer. Trying again…' : html`<${Spinner} />`}</div>`;
  if (!who) return html`<${Later} load=${pages.signin} id="signin" props=${{}} /><${Toasts} />`;
  const close = () => { panel.value = ''; };
  return html`<${Shell} page=${places[page] || page}>
      ${page ? html`<${Later} load=${pages[page]} id=${page} props=${page === 'camera' || page === 'datastream' ? { name: path[1], key: path[1] } : {}} />` : html`<p class="boot" aria-busy="true"></p>`}
    </${Shell}>
    ${panel.value && html`<${Later} load=${panels[panel.value]} id=${panel.value} props=${{ onClose: close }} />`}`;
}

addEventListener('keydown', (e) => {
  if (!session.value) return;
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') { e.preventDefault(); panel.value = panel.value === 'palette' ? '' : 'palette'; return; }
  if (e.ctrlKey || e.metaKey || e.altKey || busy(e)) return;
  if (e.key === '?') { e.preventDefault(); panel.value = 'keys'; }
  if (e.key === '/') {
    e.preventDefault();
    const field = document.querySelector('.search');
    if (field instanceof HTMLElement) field.focus(); else panel.value = 'palette';
  }
});

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.textContent = '';
render(html`<${App} />`, root);
start();
