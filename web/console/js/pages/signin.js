// Sign-in by password. The one-time link that the server prints signs in by itself.
import { html, useEffect, useRef, useState } from '../lib.js';
import { signIn, signedOutBecause, words, outage } from '../store.js';
import { Logo } from '../components/icons.js';
import { Field } from '../components/bits.js';

export default function SignIn() {
  const [password, setPassword] = useState('');
  const [show, setShow] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const field = useRef(null);
  useEffect(() => { field.current?.focus(); }, []);
  const submit = async (e) => {
    e.preventDefault();
    if (!password || busy) return;
    setBusy(true);
    setError(null);
    try { await signIn(password); } catch (err) { setError(err); setBusy(false); field.current?.select(); }
  };
  const text = error && (error.status === 401 ? 'That is not the password. Look for capitals and the keyboard language.' : words(error));
  return html`<main class="sign"><form class="card pad" onSubmit=${submit}>
    <div class="logo" style=${{ paddingLeft: 0 }}><${Logo} />penstock</div>
    <h1 class="sr">Sign in</h1>
    ${signedOutBecause.value && html`<p role="status">${signedOutBecause.value}</p>`}
    ${outage.value && html`<p class="err" role="alert">The server does not answer. Trying again…</p>`}
    <input class="sr" type="text" name="username" autocomplete="username" value="admin" tabIndex="-1" aria-hidden="true" readOnly />
    <${Field} label="Password" id="password" error=${text}>
      <div class="row" style=${{ flexWrap: 'nowrap' }}><input ref=${field} class="in" id="password" type=${show ? 'text' : 'password'} autocomplete="current-password" aria-invalid=${!!error} value=${password} onInput=${(e) => setPassword(e.currentTarget.value)} />
      <button type="button" class="btn" aria-pressed=${show} onClick=${() => setShow(!show)}>${show ? 'Hide' : 'Show'}</button></div>
    </${Field}>
    <button class="btn pri" style=${{ width: '100%', marginTop: '14px' }} disabled=${busy || !password}>${busy ? 'Signing in…' : 'Sign in'}</button>
    <p class="mut small" style=${{ marginTop: '14px' }}>No password yet? On the server, <code class="mono">penstock link</code> prints a link that signs in once, and <code class="mono">penstock password set</code> sets one.</p>
  </form></main>`;
}
