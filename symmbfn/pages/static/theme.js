"use strict";
{
  const button = document.getElementById("theme"), page = document.documentElement;
  const isDark = () => page.dataset.theme ? page.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const say = () => button.setAttribute("aria-pressed", isDark());
  button.hidden = false;
  button.onclick = () => { page.dataset.theme = isDark() ? "light" : "dark"; say(); };
  say();
}
