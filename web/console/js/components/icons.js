// The few pictures that words are too long for. Each is drawn in the colour of its text.
import { html } from '../lib.js';

const paths = {
  play: 'M7 4.5v15l12.5-7.5z',
  pause: 'M7 5h3.6v14H7zM13.4 5H17v14h-3.6z',
  stop: 'M6 6h12v12H6z',
  rec: 'M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14',
  more: 'M5 10.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6M12 10.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6M19 10.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6',
};
const strokes = {
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  mute: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  pip: 'M3 5h18v14H3zM12.5 12h6v4.5h-6z',
  home: 'M4 11l8-7 8 7M6 9.5V20h12V9.5',
  cameras: 'M3.5 4.5h7v6h-7zM13.5 4.5h7v6h-7zM3.5 13.5h7v6h-7zM13.5 13.5h7v6h-7z',
  data: 'M4 7c2.7-2 5.3-2 8 0s5.3 2 8 0M4 12c2.7-2 5.3-2 8 0s5.3 2 8 0M4 17c2.7-2 5.3-2 8 0s5.3 2 8 0',
  health: 'M3 12h4l2.5-6 4.5 12 2.5-6H21',
  settings: 'M5 7h9M18 7h1M5 17h1M10 17h9M16 4.5v5M8 14.5v5',
  close: 'M6 6l12 12M18 6L6 18',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  left: 'M14.5 5l-7 7 7 7',
  flag: 'M6 21V4h12l-3 4 3 4H6',
  mic: 'M12 3.5a3 3 0 0 0-3 3V12a3 3 0 0 0 6 0V6.5a3 3 0 0 0-3-3M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3',
  right: 'M9.5 5l7 7-7 7',
  camera: 'M4 8h4l2-3h4l2 3h4v11H4zM12 10.2a3.3 3.3 0 1 0 0 6.6 3.3 3.3 0 0 0 0-6.6',
};

export const Icon = ({ name }) => (paths[name]
  ? html`<svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true" fill="currentColor"><path d=${paths[name]} /></svg>`
  : html`<svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"><path d=${strokes[name]} /></svg>`);

export const Logo = () => html`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M3 5h11a6 6 0 0 1 0 12H9" fill="none" stroke="var(--acc)" stroke-width="3.4" stroke-linecap="round" /><circle cx="5" cy="17" r="2.6" fill="var(--acc)" /></svg>`;
