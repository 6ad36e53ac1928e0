"use strict";
// Fetch the cards again every two seconds, but never under the fingers of somebody who types.
setInterval(async () => {
  const main = document.querySelector("main");
  const typed = [...main.querySelectorAll("input[name=value]:not([type=hidden])")].some((input) => input.value);
  if (document.hidden || typed || main.contains(document.activeElement)) return;
  try {
    const answer = await fetch("/cards" + location.search);
    if (answer.ok) main.innerHTML = await answer.text();
  } catch {
    // the fleet has ended: what was last seen stays
  }
}, 2000);
