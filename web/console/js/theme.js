// Runs before the first paint, so that a chosen theme never flashes the other one.
// The page follows the system until someone chooses; js/store.js changes the choice.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem('penstock.theme'); } catch { /* storage is off: follow the system */ }
  const dark = chosen ? chosen === 'dark' : !matchMedia('(prefers-color-scheme: light)').matches;
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
