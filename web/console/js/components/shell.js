// The frame around every page: navigation, the server's state in a line, the banner while
// it is away, and what just happened.
import { html, signal } from '../lib.js';
import { list, session, system, outage, toasts, now, refreshSystem } from '../store.js';
import { href, route } from '../router.js';
import { bytes, span, roughly, instant, hourMinute } from '../format.js';
import { Icon, Logo } from './icons.js';
import { Dot } from './bits.js';

/** Which dialog of the frame is open: '', 'keys' or 'palette'. */
export const panel = signal('');

/** @type {[string, string, string][]} */
const places = [['start', 'Start', 'home'], ['cameras', 'Cameras', 'cameras'], ['data', 'Data streams', 'data'], ['health', 'Health', 'health'], ['settings', 'Keys & settings', 'settings']];

/** Whether the audit log is for who is signed in. */
export const mayAudit = () => !session.value?.role || session.value.role === 'admin';

export function Shell({ page, children }) {
  const n = list.value?.length;
  const link = (/** @type {[string, string, string]} */ [p, text]) => html`<a href=${href(p)} aria-current=${page === p ? 'page' : undefined}>${text}${p === 'cameras' && n ? html`<span>${n}</span>` : null}</a>`;
  const skip = (e) => { e.preventDefault(); document.getElementById('main')?.focus(); };
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <div class="app">
      <nav class="side" aria-label="Main">
        <div class="logo"><${Logo} />penstock</div>
        ${link(places[0])}<h2>Video</h2>${link(places[1])}<h2>Data</h2>${link(places[2])}<h2>System</h2>${link(places[3])}${link(places[4])}${mayAudit() && link(['audit', 'Audit', ''])}
        <${Foot} />
      </nav>
      <div>
        <${Banner} />
        <main id="main" tabIndex="-1" key=${route.value.path.join('/')}>${children}</main>
      </div>
    </div>
    <nav class="mobbar" aria-label="Main, small">${places.map(([p, text, icon]) => html`<a key=${p} href=${href(p)} aria-current=${page === p || (page === 'audit' && p === 'settings') ? 'page' : undefined}><${Icon} name=${icon} />${{ settings: 'Settings', data: 'Data' }[p] || text}</a>`)}</nav>
    <${Toasts} />`;
}

function Foot() {
  const s = system.value;
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  return html`<div class="foot">
    ${s && html`<div>${s.version && `${/^\d+\.\d/.test(s.version) ? 'v' : ''}${s.version} · `}up ${upFor(s)}</div>`}
    ${s?.disk?.total ? html`<div>${diskLine(s.disk)}</div>` : null}
    <button type="button" onClick=${() => { panel.value = 'keys'; }}><kbd>?</kbd> shortcuts</button><button type="button" onClick=${() => { panel.value = 'palette'; }}><kbd>${mac ? '⌘K' : 'Ctrl K'}</kbd> go to</button></div>`;
}

const upFor = (s) => span(s.started ? now.value - instant(s.started) : (s.uptime_s || 0) * 1000);

function diskLine(d) {
  const used = Math.round(((d.total - d.free) / d.total) * 100);
  const full = instant(d.full_at);
  return `${used}% of ${bytes(d.total)}${Number.isFinite(full) ? ` · full in ${roughly(full - now.value)}, then oldest first` : ''}`;
}

function Banner() {
  const o = outage.value;
  return html`<div aria-live="polite">${o && html`<div class="banner"><${Dot} tone="bad" /><b>The server does not answer</b><span class="mut">since ${hourMinute(o.since)} · ${tryIn(o)}</span><span class="grow"></span><button type="button" class="btn sm" onClick=${refreshSystem}>Try now</button></div>`}</div>`;
}

function tryIn(o) {
  const s = Math.ceil((o.next - now.value) / 1000);
  return s > 0 ? `trying again in ${s} s; recording goes on by itself if the server runs` : 'trying now…';
}

export const Toasts = () => html`<div class="toasts" aria-live="polite">${toasts.value.map((t) => html`<div class=${`toast ${t.tone}`} key=${t.id}>${t.text}${t.act && html` <button type="button" class="link" onClick=${() => { toasts.value = toasts.value.filter((x) => x !== t); t.act[1](); }}>${t.act[0]}</button>`}</div>`)}</div>`;
