// The first page: a moving picture, and the next things to do.
import { html, useState } from '../lib.js';
import { list, session, system, streamsError, refreshStreams, streams, mayChange } from '../store.js';
import { href } from '../router.js';
import { span, format } from '../format.js';
import { status } from '../status.js';
import { Dot, Failure, Skeleton, Seg, Copy } from '../components/bits.js';
import { LiveVideo } from '../components/video.js';
import { Note } from '../components/tile.js';
import { StreamDialog } from '../components/streamdialog.js';
import { DiskAlert } from '../components/forecast.js';

export default function Start() {
  const [dialog, setDialog] = useState('');
  const all = list.value;
  const demo = all?.find((s) => s.demo);
  const shown = demo || all?.find((s) => s.live) || all?.[0];
  const sys = system.value;
  const who = session.value;
  const bad = (all || []).filter((s) => status(s).tone === 'bad').length;
  const local = who.local_only ?? sys?.local_only;
  const open = sys?.password_set ?? who.password_set;
  return html`<div class="top"><h1>Your gateway is running</h1>
      <span class="chip"><${Dot} tone=${bad ? 'bad' : 'ok'} />${bad ? `${bad} ${bad === 1 ? 'camera needs' : 'cameras need'} you` : sys?.uptime_s ? `up ${span(sys.uptime_s * 1000)}` : 'ready'}</span><span class="grow"></span>
      <span class="mut hidem">signed in as ${who.name || who.role || 'admin'}${local ? ' · reachable from this machine only' : ''}</span></div>
    <div class="inset">
    ${streamsError.value && html`<${Failure} what="The list of cameras could not be read" error=${streamsError.value} retry=${refreshStreams} />`}
    <${DiskAlert} action=${html`<a class="btn sm" href=${href('health')}>Look at it</a>`} />
    <div class="g2">
      <div class="card">
        ${!all && html`<div class="v sk"></div><div class="pad"><${Skeleton} width="60%" /></div>`}
        ${all && !shown && html`<div class="v"><div class="off-note"><strong>No picture yet</strong><span>Add a camera and it appears here.</span></div></div><div class="pad mut">Start the server with <code class="mono">--demo</code> for a camera that is built in.</div>`}
        ${shown && html`<a class="v" style=${{ display: 'block' }} href=${href('cameras', shown.name)} aria-label=${`watch ${shown.name}`}><${LiveVideo} stream=${shown} />${!shown.live && html`<${Note} s=${status(shown)} stream=${shown} onFix=${() => setDialog('edit')} />`}</a>
          <div class="pad row"><div class="grow">${shown.demo ? html`<b>This is a built-in camera,</b> ` : html`<b>${shown.name}</b> `}<span class="mut">${shown.demo ? 'already recording. Scrub it, step through it, take a clip.' : format(shown)}</span></div>
          <a class="btn sm" href=${href('cameras', shown.name)}>Watch and scrub</a>${shown.demo && mayChange.value && html`<button type="button" class="btn sm" onClick=${() => setDialog('delete')}>Remove demo</button>`}</div>`}
      </div>
      <div class="stack">
        ${mayChange.value && html`<${Do} title="Connect a camera" text="Found on this network by itself, or by its RTSP address" action=${html`<a class="btn pri" href=${href('add')}>Add camera</a>`} />`}
        ${open === false && html`<${Do} title="Watch from your phone" text="Opens to your network once you set a password (one field)" action=${html`<button class="btn" onClick=${() => setDialog('password')}>Set password</button>`} />`}
        ${mayChange.value && html`<${Do} title="Send video here" text="From a body cam, an encoder or ffmpeg, by RTSP" action=${html`<a class="btn" href="#/add?push=1">Show how</a>`} />`}
        <${Do} title="Send records" text="From sensors and programs: HTTP, MQTT or any AWS client" action=${html`<a class="btn" href=${href('data')}>Data streams</a>`} />
        ${(!who.role || who.role === 'admin') && html`<${Do} title="Use it from a script" text="Keys for the API, ffmpeg and other machines" action=${html`<a class="btn" href=${href('settings')}>Make a key</a>`} />`}
        ${shown && html`<${Snippets} name=${shown.name} />`}
      </div>
    </div></div>
    <${StreamDialog} kind=${dialog} stream=${shown && streams.value?.get(shown.name)} onClose=${() => setDialog('')} onSwitch=${setDialog} />`;
}

const Do = ({ title, text, action }) => html`<div class="card pad row" style=${{ flexWrap: 'nowrap' }}><div class="grow"><b>${title}</b><div class="mut">${text}</div></div>${action}</div>`;

function Snippets({ name }) {
  const [kind, setKind] = useState('clip');
  const base = new URL('.', document.baseURI).href.replace(/\/$/, '');
  const at = `${base}/v1/streams/${encodeURIComponent(name)}`;
  const auth = '\\\n  -H "Authorization: Bearer $PENSTOCK_TOKEN"';
  const text = {
    clip: `curl -o clip.mp4 ${auth} \\\n  "${at}/clip.mp4?start=-2m&end=-1m"`,
    still: `curl -o now.jpg ${auth} \\\n  "${at}/still.jpg?width=640"`,
    gaps: `curl ${auth} \\\n  "${at}/timeline?start=-24h"`,
    record: `curl ${auth} \\\n  -d '{"celsius":21.5}' \\\n  "${base}/v1/data/temperatures?key=kitchen"`,
    cli: `penstock clip ${name} --server ${base} \\\n  --token $PENSTOCK_TOKEN`,
  }[kind];
  return html`<div class="card pad stack"><${Seg} label="Snippet" value=${kind} onChange=${setKind} options=${[['clip', 'Clip'], ['still', 'Still'], ['gaps', 'Timeline'], ['record', 'Record'], ['cli', 'Command line']]} /><${Copy} text=${text} label="Example command" /></div>`;
}
