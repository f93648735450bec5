// The colours of the theme that is on, for what is drawn on a canvas.

export function colours() {
  const css = getComputedStyle(document.documentElement);
  const v = (n) => css.getPropertyValue(`--${n}`).trim();
  return { bg: v('bg'), panel: v('panel'), panel2: v('panel2'), line: v('line'), text: v('text'), mut: v('mut'), acc: v('acc'), bad: v('bad'), rec: v('rec'), gap: v('gap'), p1: v('p1'), p2: v('p2'), p3: v('p3'), font: css.getPropertyValue('--font').trim() || 'sans-serif' };
}
