// The native API over fetch. Addresses are relative to the page, so that the console
// also works behind a proxy that gives it a folder.

/** What the server or the network refused. status 0: the server cannot be reached. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{code?:string,message?:string,hint?:string,request_id?:string}} [body]
   */
  constructor(status, body = {}) {
    super(body.message || (status ? `the server answered ${status}` : 'the server cannot be reached'));
    this.status = status;
    this.code = body.code || '';
    this.hint = body.hint || '';
    this.requestId = body.request_id || '';
  }
}

/** What the store wants to hear of; set once by it. */
export const hooks = { unreachable: () => {}, reached: () => {}, unauthorized: () => {} };

let csrf = '';
export const setCSRF = (token) => { csrf = token || ''; };
/** What a change needs beside the cookie, for requests that are not JSON. */
export const csrfHeader = () => (csrf ? { 'X-CSRF-Token': csrf } : {});

/** The absolute address of a path of the API. */
export function address(path, query) {
  const url = new URL(path, document.baseURI);
  for (const [k, v] of Object.entries(query || {})) if (v !== undefined && v !== null && v !== '') url.searchParams.set(k, String(v));
  return url;
}

export const stream = (name, rest = '') => `v1/streams/${encodeURIComponent(name)}${rest}`;
export const iso = (ms) => new Date(ms).toISOString();

/**
 * One request. Throws ApiError; an aborted one throws what fetch throws.
 * @param {string} method @param {string} path
 * @param {{query?:object, body?:any, accept?:string, signal?:AbortSignal, quiet?:boolean, range?:string}} [o]
 * @returns {Promise<Response>}
 */
export async function request(method, path, o = {}) {
  const headers = { Accept: o.accept || 'application/json' };
  if (o.body !== undefined) headers['Content-Type'] = 'application/json';
  if (o.range) headers.Range = o.range;
  if (method !== 'GET' && csrf) headers['X-CSRF-Token'] = csrf;
  let res;
  try {
    res = await fetch(address(path, o.query), {
      method, headers, signal: o.signal, cache: 'no-store', credentials: 'same-origin',
      body: o.body === undefined ? undefined : JSON.stringify(o.body),
    });
  } catch (err) {
    if (err && err.name === 'AbortError') throw err;
    hooks.unreachable();
    throw new ApiError(0);
  }
  hooks.reached();
  if (res.ok) return res;
  let body;
  try { body = (await res.json()).error; } catch { /* not ours: a proxy's page */ }
  if (res.status === 401 && !o.quiet) hooks.unauthorized();
  throw new ApiError(res.status, body);
}

async function json(method, path, o) {
  const res = await request(method, path, o);
  if (res.status === 204) return null;
  try { return await res.json(); } catch (err) {
    if (err && err.name === 'AbortError') throw err;
    throw new ApiError(res.status, { message: 'the server sent an answer that is cut short' });
  }
}

export const get = (path, query, signal) => json('GET', path, { query, signal });
export const post = (path, body, o) => json('POST', path, { body: body ?? {}, ...o });
export const patch = (path, body) => json('PATCH', path, { body });
export const remove = (path) => json('DELETE', path, {});

/** All streams, page after page. */
export async function listStreams() {
  const all = [];
  let next;
  do {
    const page = await get('v1/streams', { next });
    all.push(...(page.streams || []));
    next = page.next;
  } while (next);
  return all;
}

/** Bytes of a media file. */
export async function media(path, query, signal) {
  const res = await request('GET', path, { query, signal, accept: '*/*' });
  return new Uint8Array(await res.arrayBuffer());
}

/**
 * Probes a camera; step is called for each rung as it comes, when the server streams.
 * @returns {Promise<any>} the report
 */
export async function probe(body, step, signal) {
  const res = await request('POST', 'v1/probe', { body, signal, accept: 'application/x-ndjson, application/json;q=0.5' });
  if (!(res.headers.get('Content-Type') || '').includes('ndjson') || !res.body) {
    const report = await res.json();
    (report.steps || []).forEach(step);
    return report;
  }
  const reader = res.body.getReader();
  const text = new TextDecoder();
  let rest = '';
  let report = null;
  const line = (l) => {
    if (!l.trim()) return;
    const v = JSON.parse(l);
    if (v.error) throw new ApiError(res.status, v.error);
    if (v.report) report = v.report; else step(v);
  };
  for (;;) {
    const { done, value } = await reader.read();
    rest += text.decode(value || new Uint8Array(), { stream: !done });
    const lines = rest.split('\n');
    rest = lines.pop() || '';
    lines.forEach(line);
    if (done) break;
  }
  line(rest);
  if (!report) throw new ApiError(res.status, { message: 'the check ended before its report', hint: 'try again' });
  return report;
}
