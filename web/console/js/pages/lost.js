import { html } from '../lib.js';
import { href } from '../router.js';
import { Empty } from '../components/bits.js';

export default () => html`<div class="top"><h1>Not found</h1></div><div class="inset"><${Empty} title="There is no such page" action=${html`<a class="btn pri" href=${href('cameras')}>See the cameras</a>`}>The address may be from another version of the console.</${Empty}></div>`;
