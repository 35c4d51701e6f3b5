// The kept choice of theme in, the page's colours out; loaded before the page is drawn, so that nothing flashes.

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try {
      return localStorage.getItem("promptstream.theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const apply = () => (root.dataset.theme = kept() ?? (system.matches ? "dark" : "light"));

  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const other = () => (root.dataset.theme === "dark" ? "light" : "dark");
    const label = () => button.setAttribute("aria-label", `Use the ${other()} theme`);
    label();
    system.addEventListener("change", label);
    button.addEventListener("click", () => {
      root.dataset.theme = other();
      try {
        localStorage.setItem("promptstream.theme", root.dataset.theme);
      } catch {
        // then the choice holds as long as the page
      }
      label();
    });
  });
})();
