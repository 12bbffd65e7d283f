// Unpacks plotly.js, then runs the page's own script, in place of PAGE.
'use strict';
window.ready = (async () => {
  if (!('DecompressionStream' in window)) {
    document.querySelector('#no-charts').hidden = false;
    document.querySelector('#reading')?.remove();
    return;
  }
  const packed = atob(document.querySelector('#plotly').textContent);
  const bytes = new Blob([Uint8Array.from(packed, letter => letter.charCodeAt(0))]);
  const script = document.createElement('script');
  script.textContent = await new Response(bytes.stream().pipeThrough(new DecompressionStream('gzip'))).text();
  document.head.append(script);
  (() => {
PAGE
  })();
})();
