// Shows how far a list has come that is taken away as a file. Without it the form downloads the same file.
// <form method="post" data-export>: its button gives way to a bar, until the last row is here; then the file is kept.
"use strict";

const QUOTE = 34, END = 10;

// How many rows a piece ends. In CSV the first names the columns, and a line's end between quotes belongs to a cell.
function counter(isCsv) {
  let quoted = false, rows = isCsv ? -1 : 0;
  return (piece) => {
    for (const one of piece) {
      if (isCsv && one === QUOTE) quoted = !quoted;
      else if (one === END && !quoted) rows += 1;
    }
    return Math.max(0, rows);
  };
}

function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function take(form) {
  const [button, running] = [form.querySelector("button[type=submit]"), form.querySelector(".desk-export__runs")];
  const [bar, count, said] = ["progress", ".desk-export__count", "[role=status]"].map((one) => form.querySelector(one));
  const stop = new AbortController();
  const number = new Intl.NumberFormat(document.documentElement.lang || "en");
  form.querySelector(".desk-export__stop").onclick = () => stop.abort();
  button.hidden = true;
  running.hidden = false;
  said.textContent = "The file is being written.";
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin", redirect: "error", signal: stop.signal });
    if (!answer.ok) throw new Error(String(answer.status));
    const total = Number(answer.headers.get("X-Rows"));
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "")?.[1] || "list.csv";
    const kind = answer.headers.get("Content-Type");
    const rows = counter(form.dataset.export === "csv"), pieces = [], reader = answer.body.getReader();
    bar.max = Math.max(1, total);
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pieces.push(piece.value);
      const here = rows(piece.value);
      bar.value = Math.min(total, here);
      count.textContent = `${number.format(here)} of ${number.format(total)}`;
    }
    keep(new Blob(pieces, { type: kind }), name);
    said.textContent = `${name} is kept where your browser keeps downloads.`;
  } catch (trouble) {
    said.textContent = trouble.name === "AbortError" ? "Stopped. Nothing was kept." : "The file broke off, and nothing was kept. Try it again.";
  }
  running.hidden = true;
  button.hidden = false;
}

document.querySelectorAll("form[data-export]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  take(form);
}));
