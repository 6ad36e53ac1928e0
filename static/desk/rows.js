// The lines of a rule: each offers only what fits what is compared; lines are added and taken out in place.
// <div data-rows="10"> holds <div data-row>; <option data-tests="is begins" data-choices="yes|no"> says what fits.
// Without this script «Another line» comes back with one more, and what does not fit is said in words.
"use strict";

const box = document.querySelector("[data-rows]");
const most = Number(box?.dataset.rows);
const changed = () => box.dispatchEvent(new Event("input", { bubbles: true }));

function fit(row) {
  const chosen = row.querySelector("[data-fact]").selectedOptions[0];
  const tests = (chosen.dataset.tests || "").split(" ").filter(Boolean);
  const test = row.querySelector("[data-test]");
  [...test.options].forEach((one) => { one.hidden = one.disabled = tests.length > 0 && !tests.includes(one.value); });
  if (test.selectedOptions[0]?.disabled) test.value = tests[0];
  const value = row.querySelector("[name^=value-]");
  const choices = (chosen.dataset.choices || "").split("|").filter(Boolean);
  const known = choices.find((one) => one.toLowerCase() === value.value.toLowerCase());
  const fresh = document.createElement(choices.length ? "select" : "input");
  for (const name of ["id", "name"]) fresh[name] = value[name];
  if (choices.length) {
    fresh.append(...choices.map((one) => new Option(one)));
    fresh.value = known || choices[0];
  } else {
    fresh.className = "desk-input";
    fresh.maxLength = 100;
    fresh.autocomplete = "off";
    fresh.spellcheck = false;
    fresh.value = value.tagName === "INPUT" ? value.value : "";
    if (chosen.value === "version") fresh.inputMode = "decimal";
  }
  value.replaceWith(fresh);
}

function number() {
  const rows = [...box.querySelectorAll("[data-row]")];
  rows.forEach((row, at) => {
    for (const part of ["fact", "test", "value"]) {
      const field = row.querySelector(`[name^=${part}-]`);
      row.querySelector(`label[for="${field.id}"]`).htmlFor = field.id = field.name = `${part}-${at}`;
    }
    const drop = row.querySelector("[data-drop-row]");
    drop.hidden = rows.length === 1;
    drop.setAttribute("aria-label", `Take line ${at + 1} out`);
  });
  document.querySelector("[data-add-row]").hidden = rows.length >= most;
}

if (box) {
  box.querySelectorAll("[data-row]").forEach(fit);
  number();
  box.addEventListener("change", (event) => {
    if (!event.target.matches("[data-fact]")) return;
    fit(event.target.closest("[data-row]"));
    changed();
  });
  box.addEventListener("click", (event) => {
    const drop = event.target.closest("[data-drop-row]");
    if (!drop) return;
    const row = drop.closest("[data-row]");
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    number();
    next.querySelector("[data-fact]").focus();
    changed();
  });
  document.querySelector("[data-add-row]").addEventListener("click", (event) => {
    event.preventDefault();
    const row = box.querySelector("[data-row]:last-child").cloneNode(true);
    row.querySelectorAll("[id^=wrong-]").forEach((one) => one.remove());
    box.append(row);
    row.querySelector("[data-fact]").value = "";
    row.querySelector("[name^=value-]").value = "";
    fit(row);
    number(); // its fields still bear the names of the line above
    row.querySelector("[data-fact]").focus();
  });
}
