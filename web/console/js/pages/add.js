// Add a camera in three steps: find it, check it, keep it.
import { html, useEffect, useRef, useState } from '../lib.js';
import { post } from '../api.js';
import { list, put, toast, words, streams, system } from '../store.js';
import { go, href, route } from '../router.js';
import { kept, span } from '../format.js';
import { Seg, Dot, Field, Skeleton, Spinner } from '../components/bits.js';
import { SourceForm, tidy, nameOK } from '../components/sourceform.js';
import { Retention, retentionOK, retentionValue } from '../components/retention.js';
import { Ladder, useProbe } from '../components/ladder.js';
import { probeBody } from '../components/edit.js';
import { Push } from '../components/push.js';

const blank = { url: '', username: '', password: '', transport: 'auto' };

/** A stream name made from what the camera calls itself. */
const nameFrom = (text) => String(text || '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 60);

export default function Add() {
  const [kind, setKind] = useState(route.value.query.get('push') ? 'push' : 'pull');
  return html`<div class="top"><a href=${href('cameras')}>← Cameras</a><h1>Add a camera</h1><span class="grow"></span><${Seg} label="Way" value=${kind} onChange=${setKind} options=${[['pull', 'Pull from a camera'], ['push', 'It pushes to us']]} /></div>
    <div class="inset">${kind === 'pull' ? html`<${Pull} />` : html`<${Pushed} />`}</div>`;
}

function Pull() {
  const [source, setSource] = useState(blank);
  const [name, setName] = useState('');
  const [keep, setKeep] = useState('30d');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const check = useProbe();
  const checked = useRef('');
  const result = useRef(null);
  const found = useRef(''); // ONVIF service of the camera that was chosen
  const device = check.body && hostOf(found.current) === hostOf(check.body.url) ? found.current : '';
  const body = JSON.stringify(probeBody(source));
  const stale = checked.current && checked.current !== body;
  const step = !check.busy && !check.report && !check.error ? 1 : check.report?.ok && !stale ? 3 : 2;
  const taken = streams.value?.has(name);
  const nameError = !name ? '' : taken ? 'A camera has this name already' : nameOK(name) ? '' : 'Letters, digits, dot, dash and underscore only';
  const run = (e) => {
    e?.preventDefault();
    const s = tidy(source);
    setSource(s);
    if (!name) setName(free(nameFrom(hostOf(s.url)).replace(/^[\d-]+$/, 'camera-$&') || 'camera'));
    checked.current = JSON.stringify(probeBody(s));
    check.run(probeBody(s));
    // Where the steps come below the form, bring them into sight.
    if (matchMedia('(max-width: 1080px)').matches) result.current?.scrollIntoView({ behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
  };
  const use = (cam, url) => {
    found.current = cam.xaddr || '';
    setSource({ ...source, url: url || cam.urls?.[0]?.url || `rtsp://${cam.address}/` });
    setName(free(nameFrom(cam.name || cam.hardware) || nameFrom(cam.address)));
  };
  const create = async () => {
    setBusy(true);
    setError(null);
    try {
      const { url, username, password, transport } = tidy(source);
      put(await post('v1/streams', { name, retention: retentionValue(keep), source: { url, username, password, transport } }));
      toast(`${name} is being recorded`);
      go('cameras', name);
    } catch (err) { setError(err); setBusy(false); }
  };
  const ready = name && !nameError && retentionOK(keep) && source.url && !busy;
  return html`<ol class="steps" aria-label="Progress">${['Find', 'Check', 'Keep'].map((t, i) => html`<li key=${t} aria-current=${step === i + 1 ? 'step' : undefined}>${i + 1} ${t}</li>`)}</ol>
  <div class="g2"><div class="stack">
    <${Found} source=${source} onUse=${use} />
    <form class="card pad" onSubmit=${run}><h2 class="h">Camera</h2>
      <${SourceForm} value=${source} onChange=${setSource} />
      <${Field} id="name" label="Name" error=${nameError}><input class="in" id="name" value=${name} onInput=${(e) => setName(e.currentTarget.value.trim())} placeholder="front-door" autocapitalize="off" spellcheck=${false} aria-invalid=${!!nameError} /></${Field}>
      <div class="row" style=${{ marginTop: '14px' }}><button class=${`btn ${step === 3 ? '' : 'pri'}`} disabled=${!source.url.trim() || check.busy}>${check.busy ? 'Checking…' : check.report ? 'Check again' : 'Check this camera'}</button>${check.busy && html`<button type="button" class="btn" onClick=${check.stop}>Stop</button>`}</div>
    </form></div>
    <div class="card" ref=${result}>
      <div class="player">${check.report?.picture ? html`<img class="fit" alt="picture from the camera being added" src=${check.report.picture} /><span class="tag tr">picture in ${span(check.took)}</span>` : html`<div class="over">${check.busy ? html`<${Spinner} /><p>Calling the camera</p>` : html`<p>${check.report?.ok ? noPicture() : check.report || check.error ? 'No picture: the step that failed is below, with what to try.' : 'The check shows each step from here to the first picture, and what to do at the one that fails.'}</p>`}</div>`}</div>
      <div class="pad">
        <${Ladder} check=${check} device=${device} />
        ${stale && html`<p class="mut small">The address or sign-in changed since this check.</p>`}
        ${(check.report || check.error) && html`<${Retention} value=${keep} onChange=${setKeep} bitrate=${0} />`}
        ${error && html`<p class="err" role="alert">${words(error)}</p>`}
        ${(check.report || check.error) && html`<div class="row" style=${{ marginTop: '14px' }}><span class="grow mut small">${check.report?.ok ? '' : 'It can be added as it is: the server keeps trying.'}</span><button type="button" class=${`btn ${check.report?.ok ? 'pri' : ''}`} disabled=${!ready} onClick=${create}>${busy ? 'Adding…' : check.report?.ok ? `Keep ${kept(keep).replace(/ d$/, ' days')} and start recording` : 'Add it anyway'}</button></div>`}
        ${!check.report && !check.error && !check.busy && html`<p class="mut">Nothing is recorded before you say so.</p>`}
      </div></div></div>`;
}

const noPicture = () => (system.value?.ffmpeg === false ? 'The camera works. A picture needs ffmpeg on the server; recording does not.' : 'The camera works, but no picture could be made from it here.');
function hostOf(url) { try { return new URL(url.replace(/^rtsps?/, 'http')).hostname; } catch { return ''; } }

function free(name) {
  let out = name;
  for (let i = 2; streams.value?.has(out); i++) out = `${name}-${i}`;
  return out;
}

/** Cameras that answered on the local network. */
function Found({ source, onUse }) {
  const [state, set] = useState({ cameras: null, error: null, busy: true });
  const scan = async () => {
    set((s) => ({ ...s, busy: true, error: null }));
    try { set({ cameras: (await post('v1/discover', {})).cameras || [], error: null, busy: false }); } catch (error) { set({ cameras: [], error, busy: false }); }
  };
  useEffect(() => { scan(); }, []);
  const known = (c) => (list.value || []).some((s) => s.source && hostOf(s.source.url) === c.address);
  return html`<div class="card pad"><div class="row"><h2 class="h grow">Found on this network</h2><button type="button" class="btn sm" disabled=${state.busy} onClick=${scan}>${state.busy ? 'Looking…' : 'Look again'}</button></div>
    <div class="mut small">By ONVIF. A camera that is not listed may still work: type its address below.</div>
    <div aria-live="polite" aria-busy=${state.busy}>
    ${!state.cameras && html`<div class="stack" style=${{ marginTop: '12px' }}><${Skeleton} width="60%" /><${Skeleton} width="45%" /></div>`}
    ${state.error && html`<p class="err">${words(state.error)}</p>`}
    ${state.cameras && !state.cameras.length && !state.error && !state.busy && html`<p class="mut" style=${{ marginTop: '10px' }}>No camera answered. Some have ONVIF switched off, or sit in another network.</p>`}
    <ul class="found">${(state.cameras || []).map((c) => {
    const mine = hostOf(source.url) === c.address;
    return html`<li key=${c.xaddr || c.address}><div><b>${c.name || c.hardware || 'Camera'}</b><div class="mut mono">${c.address}${c.urls?.length ? html` · ${c.urls.length} ${c.urls.length === 1 ? 'stream' : 'streams'}` : ''}</div>
      ${mine && c.urls?.some((u) => u.url === source.url) && c.urls.length > 1 && html`<select class="in" style=${{ marginTop: '6px' }} aria-label="Stream of the camera" value=${source.url} onChange=${(e) => onUse(c, e.currentTarget.value)}>${c.urls.map((u) => html`<option value=${u.url}>${[u.profile, u.codec, u.width ? `${u.width}×${u.height}` : ''].filter(Boolean).join(' · ') || u.url}</option>`)}</select>`}</div>
      ${mine ? html`<span class="chip"><${Dot} tone="ok" />selected</span>` : known(c) ? html`<span class="mut">already added</span>` : html`<button type="button" class="btn sm" onClick=${() => onUse(c)}>Use</button>`}</li>`; })}</ul></div></div>`;
}

function Pushed() {
  const [name, setName] = useState('');
  const [keep, setKeep] = useState('30d');
  const [made, setMade] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const taken = streams.value?.has(name) && made !== name;
  const nameError = !name ? '' : taken ? 'A camera has this name already' : nameOK(name) ? '' : 'Letters, digits, dot, dash and underscore only';
  const create = async (e) => {
    e.preventDefault();
    if (!name || nameError || busy) return;
    setBusy(true);
    setError(null);
    try { put(await post('v1/streams', { name, retention: retentionValue(keep) })); setMade(name); } catch (err) { setError(err); }
    setBusy(false);
  };
  const s = made && streams.value?.get(made);
  return html`<div class="g2"><form class="card pad" onSubmit=${create}><h2 class="h">A stream that waits for its sender</h2><p class="mut">For body cams, encoders, phones and ffmpeg, which call us.</p>
    <${Field} id="pname" label="Name" error=${nameError}><input class="in" id="pname" value=${name} disabled=${!!made} onInput=${(e) => setName(e.currentTarget.value.trim())} placeholder="body-cam-7" autocapitalize="off" spellcheck=${false} autofocus /></${Field}>
    ${!made && html`<${Retention} value=${keep} onChange=${setKeep} bitrate=${0} />`}
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '14px' }}>${made ? html`<${Dot} tone=${s?.live ? 'ok' : 'off'} /><b role="status">${s?.live ? 'It arrives. ' : 'Made. Waiting for its first picture…'}</b>${html`<a class=${`btn sm ${s?.live ? 'pri' : ''}`} href=${href('cameras', made)}>Watch</a>`}` : html`<button class="btn pri" disabled=${!name || !!nameError || busy || !retentionOK(keep)}>${busy ? 'Making…' : 'Make the stream'}</button>`}</div></form>
    <div class="card pad"><h2 class="h">Then send to it</h2>${made ? html`<${Push} name=${made} />` : html`<p class="mut" style=${{ marginTop: '8px' }}>The address and the commands appear here.</p>`}</div></div>`;
}
