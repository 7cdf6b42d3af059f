// How the whole app behaves in a browser, whatever page is shown; begun once.

(() => {
  if (window.somatwinManners) return;
  window.somatwinManners = true;

  // what a page writes into its own address is no step of its history: one press of Back leaves the page
  const push = history.pushState.bind(history);
  history.pushState = (state, title, url) => {
    const same = url !== undefined && url !== null && new URL(url, location.href).pathname === location.pathname;
    if (same) history.replaceState(state, title, url);
    else push(state, title, url);
  };

  // the icons that explain a control are read by pointing at them: the Tab key goes from control to control
  const icons = '[data-testid="stTooltipIcon"]';
  const focusable = `${icons}[tabindex="0"], ${icons} :is([tabindex="0"], button:not([tabindex="-1"]))`;
  const skipHelp = () => document.querySelectorAll(focusable).forEach((icon) => (icon.tabIndex = -1));
  new MutationObserver(skipHelp).observe(document.body, { childList: true, subtree: true });
  skipHelp();
})();
