/* What the signing page has put behind the #: clear the address, and post it. */
"use strict";

(() => {
  const form = document.querySelector("[data-signed]");
  const told = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  if (![...told.keys()].length) return;
  for (const [name, value] of told) {
    if (!["s", "r", "id", "cd", "ad", "sig", "ao"].includes(name)) continue;
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    form.append(field);
  }
  form.querySelector("[data-signed-nothing]").textContent = "One moment.";
  form.submit();
})();
