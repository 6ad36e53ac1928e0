// The editor of a policy says in words what stands in its fields, while somebody types.
// <form data-preview="/…/preview/">: its fields are posted there; each [data-said] of the answer takes the place of ours.
// Without this script the button «Show it in words» does the same for the whole page.
"use strict";

const WAIT = 300; // ms without a key
const form = document.querySelector("form[data-preview]");
const note = document.querySelector("[data-said-when]");
let timer = 0;
let asked = null;

async function say() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  try {
    const answer = await fetch(form.dataset.preview, { method: "POST", body: new FormData(form), credentials: "same-origin", redirect: "error", signal });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    page.querySelectorAll("[data-said]").forEach((fresh) => {
      const ours = document.querySelector(`[data-said="${fresh.dataset.said}"]`);
      if (ours && ours.innerHTML !== fresh.innerHTML) ours.innerHTML = fresh.innerHTML;
    });
    note.textContent = "As it stands in the fields. Nothing of it is kept yet.";
    note.hidden = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    note.textContent = "The words could not be brought up to date.";
    note.hidden = false;
  }
}

if (form) {
  document.querySelectorAll("[data-without-script]").forEach((button) => { button.hidden = true; });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(say, WAIT);
  });
}
