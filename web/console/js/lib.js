// One door to the vendored libraries, so that a renewal touches one file.
import { h, render, Fragment } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export { h, render, Fragment };
export { useState, useEffect, useRef, useMemo, useCallback, useLayoutEffect, useId } from '../vendor/hooks.js';
export { signal, computed, effect, batch, untracked, useSignal, useComputed, useSignalEffect } from '../vendor/signals.js';

/** Template tag that makes Preact elements; values become text or attributes, never markup. */
export const html = htm.bind(h);
