/* Shows what is to be signed, from the very bytes that are signed, and has a passkey sign them.

   Told by the fragment: s statement, c the ask that it answers, k passkeys; or r what a new passkey
   is bound to. It asks nobody, keeps nothing, and leads to one address alone. */
"use strict";

(() => {
  const STATEMENT = "passcodes/statement/v1\0";
  const REGISTER = "passcodes/register/v1\0";
  const PASSKEY = "passcodes/passkey/v1\0";
  const LARGEST = 65536, DEEPEST = 6, LONGEST = 200, LONGEST_WORDS = 500, FOUR = 4;
  const KEY = /^[a-z][a-z0-9_]*$/;
  const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;
  const JOINERS = /[\u200c\u200d]/g;
  const EVERY = ["by", "charter", "kind", "pulse", "request", "v"];
  const FIELDS = {
    ask: ["act", "until", "words"], yes: ["ask", "facts", "until"],
    no: ["ask", "words"], witness: ["ask", "devices"],
  };
  const ACTS = {
    clear: ["reason", "devices"], found: ["devices"], charter: ["change"], review: ["of"],
  };
  const DEVICE = ["model", "name", "possession", "serial", "token", "udid", "user"];
  const FACT = ["lost", "os", "seen", "token_at", "udid", "user"];
  const TEXTS = ["act", "by", "model", "name", "os", "reason", "serial", "udid", "user", "words"];
  const NUMBERS = ["charter", "lost", "seen", "token_at", "until"];
  const PATTERNS = {
    ask: /^[0-9a-f]{64}$/, of: /^[0-9a-f]{32}$/, pulse: /^[0-9a-f]{48}$/,
    request: /^[0-9a-f]{32}$/, token: /^[0-9a-f]{32}$/,
  };
  const REASONS = {
    forgotten: "the user has forgotten the passcode",
    refresh: "the device gets ready for its next user",
    leaver: "the user has left",
  };
  const HOWS = {
    code: "its lock screen showed a code", witness: "a second person signs that they see it",
    word: "the word of who asks, and nothing else",
  };

  const ROLES = {
    ask: "asks for clears", yes: "agrees to clears", keep: "keeps the charter",
    glass: "agrees with the key from the safe",
  };
  const RULE = {
    approvers: "Signatures by others", possession: "Proof that it is in our hands",
    ask_lasts: "An ask counts for", yes_lasts: "A yes counts for", hold: "Held back after the last signature for",
    hours: "Opens", bulk_max: "Devices in one list, at most", per_hour: "Clears an hour, at most",
    notice: "People are told before it opens", glass: "A key from the safe may agree",
    synced: "Synced passkeys count for",
  };
  const PROOFS = {
    code: "a code on its lock screen", witness: "a second person sees it", word: "the word of who asks",
  };
  const SPANS = ["ask_lasts", "yes_lasts", "hold"], FLAGS = ["notice", "glass"];

  class Refused extends Error {}
  const by = (id) => document.getElementById(id);
  const refuse = (why) => { throw new Refused(why); };
  const is = (value, kind) => Object.prototype.toString.call(value) === `[object ${kind}]`;

  // Bytes and texts.

  const bytes = (text) => {
    if (!/^[A-Za-z0-9_-]*$/.test(text)) refuse("The address of this page cannot be read.");
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (one) => one.charCodeAt(0));
  };
  const written = (buffer) => {
    let text = "";
    for (const one of new Uint8Array(buffer)) text += String.fromCharCode(one);
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const hex = (buffer) =>
    [...new Uint8Array(buffer)].map((one) => one.toString(16).padStart(2, "0")).join("");
  const digest = async (...parts) =>
    crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());

  // A canonical document: it has one form, or it is refused.

  const encode = (value, level = 1, longest = LONGEST) => {
    if (is(value, "String")) {
      if ([...value].length > longest) refuse("A text is too long.");
      if (FORBIDDEN.test(value.replace(JOINERS, ""))) refuse("A text has a character that is not allowed.");
      if (value.normalize("NFC") !== value) refuse("A text is not in normal form C.");
      return JSON.stringify(value).replace(/[^\x20-\x7e]/g,
        (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
    }
    if (is(value, "Number")) {
      if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) refuse("A number is not a whole one.");
      return String(value);
    }
    if (!is(value, "Array") && !is(value, "Object")) refuse("A value is of no kind that is allowed.");
    if (level > DEEPEST) refuse("The document is too deep.");
    if (is(value, "Array")) return `[${value.map((one) => encode(one, level + 1)).join(",")}]`;
    const members = Object.keys(value).sort().map((key) => {
      if (!KEY.test(key)) refuse("A key is not a plain name.");
      return `"${key}":${encode(value[key], level + 1, key === "words" ? LONGEST_WORDS : LONGEST)}`;
    });
    return `{${members.join(",")}}`;
  };

  const decode = (raw) => {
    if (raw.length > LARGEST) refuse("The document is too large.");
    const text = String.fromCharCode.apply(null, raw.length < 60000 ? raw : []) ||
      [...raw].map((one) => String.fromCharCode(one)).join("");
    let said;
    try { said = JSON.parse(text); } catch { refuse("The document is not JSON."); }
    if (!is(said, "Object") || encode(said) !== text) refuse("The document is not in its one form.");
    return said;
  };

  // A statement: exactly the fields of its kind.

  const same = (value, names) =>
    is(value, "Object") && Object.keys(value).sort().join() === [...names].sort().join();

  const field = (name, value) => {
    const right = PATTERNS[name] ? is(value, "String") && PATTERNS[name].test(value)
      : TEXTS.includes(name) ? is(value, "String")
      : NUMBERS.includes(name) ? is(value, "Number") : true;
    if (!right) refuse("A field has not its form.");
  };
  const members = (value, names) => {
    if (!same(value, names)) refuse("A member has not exactly its fields.");
    Object.entries(value).forEach(([name, one]) => field(name, one));
  };
  const list = (value, kind, mayBeEmpty) => {
    if (!is(value, "Array") || !(value.length || mayBeEmpty) || !value.every((one) => is(one, kind))) {
      refuse("A list has not its form.");
    }
  };
  const device = (one) => {
    members(one, DEVICE);
    const { possession } = one;
    if (!is(possession, "Object") || !(possession.how in HOWS)) refuse("A device is in nobody's hands.");
    if (!same(possession, possession.how === "code" ? ["how", "code"] : ["how"])) {
      refuse("A proof of possession has not exactly its fields.");
    }
    if (possession.how === "code"
        && !(is(possession.code, "String") && /^([0-9]{6}|[0-9a-f]{32})$/.test(possession.code))) {
      refuse("A code has not its form.");
    }
  };
  const read = (raw) => {
    const said = decode(raw);
    if (!is(said.kind, "String") || !Object.hasOwn(FIELDS, said.kind)) refuse("The statement is of no known kind.");
    let wanted = [...EVERY, ...FIELDS[said.kind]];
    if (said.kind === "ask") {
      if (!is(said.act, "String") || !Object.hasOwn(ACTS, said.act)) refuse("The statement asks for no known act.");
      wanted = [...wanted, ...ACTS[said.act]];
    }
    if (!same(said, wanted) || said.v !== 1) refuse("The statement has not exactly the fields of its kind.");
    Object.entries(said).forEach(([name, value]) => field(name, value));
    if (said.kind === "witness") list(said.devices, "String");
    else if ("devices" in said) { list(said.devices, "Object"); said.devices.forEach(device); }
    if ("facts" in said) { list(said.facts, "Object", true); said.facts.forEach((one) => members(one, FACT)); }
    if ("change" in said && !is(said.change, "Object")) refuse("A change is no object.");
    return said;
  };

  // What a person sees. Every value stands alone: it cannot turn the text around it.

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.append(text);
    return made;
  };
  const alone = (text) => element("bdi", String(text));
  const facts = (rows) => {
    const made = element("dl");
    for (const [label, value] of rows) {
      const row = element("div");
      const told = element("dd");
      told.append(alone(value));
      row.append(element("dt", label), told);
      made.append(row);
    }
    return made;
  };
  const clock = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "never");
  const sentence = (...parts) => {
    const made = document.createDocumentFragment();
    for (const part of parts) made.append(part);
    return made;
  };

  // A change of the charter, as it stands in what is signed.

  const joined = (list, words) => (is(list, "Array") && list.length
    ? list.map((one) => (words && Object.hasOwn(words, one) ? words[one] : one)).join(", ") : "nothing");
  const span = (seconds) => (seconds % 60 ? `${seconds} s` : `${seconds / 60} min`);
  const rule = (one) => (is(one, "Object") ? Object.keys(RULE).map((name) => {
    const value = one[name];
    if (name === "hours") return [RULE[name], is(value, "Object") ? `${value.start}:00 to ${value.end}:00` : "?"];
    if (SPANS.includes(name)) return [RULE[name], span(value)];
    if (FLAGS.includes(name)) return [RULE[name], value ? "yes" : "no"];
    return [RULE[name], is(value, "Array") ? joined(value, { ...ROLES, ...PROOFS }) : value];
  }) : []);
  const plain = (change) => Object.entries(change).map(([name, value]) =>
    [name, is(value, "String") ? value : JSON.stringify(value)]);
  const changed = (change) => {
    const key = is(change.key, "Object") ? change.key : {};
    const fingerprint = [
      ["Its fingerprint, as it was read aloud to you", key.fingerprint],
      ["Kind", key.be ? "synced by its maker’s cloud" : "bound to one device or key"],
    ];
    switch (change.what) {
      case "pin": return [["Pin a passkey of", change.person], ...fingerprint,
        ["May sign", joined(change.roles, ROLES)]];
      case "recover": return [["Pin a passkey of", change.person], ...fingerprint,
        ["In the place of", "all their earlier passkeys"]];
      case "person": return [["What this person may sign", change.person], ["May sign", joined(change.roles, ROLES)],
        ["For", joined(change.lists, { all: "every device" })], ["Also called", joined(change.aliases)], ["Mail", change.mail || "none"]];
      case "revoke": return [["Take out", change.fingerprint ? "one passkey" : "the person, altogether"],
        ["Of", change.person], ...(change.fingerprint ? [["Fingerprint", change.fingerprint]] : [])];
      case "rule": return [["Rule for", change.of === "default" ? "every clear" : REASONS[change.of] || change.of],
        ...rule(change.rule)];
      case "list": return [["List of devices", change.name],
        [`Serial numbers (${(change.serials || []).length})`, joined(change.serials)],
        ["A rule of its own", change.rule ? "yes" : "no"], ...rule(change.rule)];
      case "unlist": return [["Remove the list of devices", change.name]];
      case "resume": return [["Let go on what was stopped at the vault’s console", change.of]];
      default: return plain(change);
    }
  };

  const show = (said, ask) => {
    const about = said.kind === "ask" ? said : ask;
    const count = (about.devices || []).length;
    const things = count === 1 ? "one device" : `${count} devices`;
    const deeds = {
      ask: { clear: `Ask to remove the passcode of ${things}`, found: `Ask to mark ${things} as found`,
        charter: "Ask to change who counts, or the rules", review: "Sign that this clear was reviewed" }[about.act],
      yes: { clear: `Agree to remove the passcode of ${things}`, found: `Agree to mark ${things} as found`,
        charter: "Agree to change who counts, or the rules", review: "Sign the review as well" }[about.act],
      no: "Deny this request, for ever", witness: `Sign that you see ${things}`,
    };
    by("title").textContent = deeds[said.kind];
    by("lead").append(sentence("You sign as ", alone(said.by), ". ",
      said.kind === "yes" || said.kind === "no" || said.kind === "witness"
        ? sentence(alone(ask.by), " has asked. ") : "",
      said.until ? `What you sign counts until ${clock(said.until)}.` : ""));
    (about.devices || []).forEach((one, at) => {
      const box = element("section", undefined, "device");
      if (count > 1) box.append(element("h2", `Device ${at + 1} of ${count}`));
      const serial = element("p", undefined, "serial");
      serial.append(alone(one.serial));
      box.append(element("p", "Serial number", "claimed"), serial, facts([["Model", one.model], ["UDID", one.udid]]));
      box.append(element("p", "Said by the staff site, and proven by nothing here:", "claimed"));
      const then = said.kind === "yes" ? said.facts[at] : undefined;
      box.append(facts([["Name", one.name], ["Used by", one.user || "nobody named"],
        ["In our hands", HOWS[one.possession.how] +
          (/^[0-9]{6}$/.test(one.possession.code || "") ? ` (${one.possession.code})` : "")],
        ...(then ? [["System", then.os], ["Last contact", clock(then.seen)],
          ["Lost", then.lost ? "yes" : "no"], ["Token from", clock(then.token_at)]] : [])]));
      by("devices").append(box);
    });
    const claims = [];
    if (about.reason) claims.push(["Why", REASONS[about.reason] || about.reason]);
    if (about.words) claims.push(["In words", about.words]);
    if (said.kind === "no") claims.push(["Denied because", said.words]);
    if (about.change) claims.push(...changed(about.change));
    if (about.of) claims.push(["The clear that is reviewed", about.of]);
    by("claims").append(facts(claims));
    by("do").textContent = said.kind === "no" ? "Deny with a passkey" : "Sign with a passkey";
    by("sign").hidden = false;
  };

  const differences = (said, ask) => {
    const found = [];
    said.facts.forEach((fact, at) => {
      const one = ask.devices[at];
      if (fact.udid !== one.udid) refuse("It speaks of another device than the one that was asked for.");
      if (fact.user !== one.user) found.push(`Asked for ${one.user || "nobody"}; now used by ${fact.user || "nobody"}.`);
      if (fact.lost) found.push("The device is marked lost.");
    });
    if (found.length) {
      by("differences").textContent = found.join(" ");
      by("differences").hidden = false;
    }
  };

  // The deed.

  const home = document.querySelector('meta[name="return"]').content;
  const go = (parts) => location.assign(`${home}#${new URLSearchParams(parts)}`);

  const sign = async (raw, allowed) => {
    const challenge = await digest(STATEMENT, raw);
    const made = await navigator.credentials.get({
      publicKey: {
        challenge, rpId: location.hostname, userVerification: "required", timeout: 120000,
        allowCredentials: allowed.map((id) => ({ type: "public-key", id })),
      },
    });
    go({
      s: written(raw), id: written(made.rawId), cd: written(made.response.clientDataJSON),
      ad: written(made.response.authenticatorData), sig: written(made.response.signature),
    });
  };

  const register = async (raw, said) => {
    const challenge = await digest(REGISTER, raw);
    const made = await navigator.credentials.create({
      publicKey: {
        challenge, rp: { id: location.hostname, name: "Passcodes: signing" }, attestation: "none",
        user: { id: crypto.getRandomValues(new Uint8Array(16)), name: said.by, displayName: `${said.by}, signing` },
        pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
        authenticatorSelection: { userVerification: "required", residentKey: "discouraged" }, timeout: 120000,
      },
    });
    const id = new Uint8Array(made.rawId);
    const length = Uint8Array.of(id.length >> 8, id.length & 255);
    const whole = new Uint8Array(await digest(PASSKEY, length, id, made.response.getPublicKey()));
    let bits = "";
    for (const one of whole.slice(0, 15)) bits += one.toString(2).padStart(8, "0");
    const letters = bits.match(/.{5}/g).map((five) => "abcdefghijklmnopqrstuvwxyz234567"[parseInt(five, 2)]).join("");
    by("fingerprint").textContent = letters.match(/.{4}/g).join(" ");
    by("sign").hidden = true;
    by("made").hidden = false;
    const parts = new URLSearchParams({
      r: written(raw), id: written(made.rawId), cd: written(made.response.clientDataJSON),
      ao: written(made.response.attestationObject),
    });
    by("continue").href = `${home}#${parts}`;
  };

  const attempt = (deed) => async (event) => {
    event.preventDefault();
    by("wrong").hidden = true;
    by("do").disabled = true;
    try {
      await deed();
    } catch (fault) {
      by("wrong").textContent = fault instanceof Refused ? fault.message
        : "The passkey has not signed. Nothing was signed. Try again, or go back.";
      by("wrong").hidden = false;
    } finally {
      by("do").disabled = false;
    }
  };

  const begin = async () => {
    if (window.top !== window.self) refuse("This page is shown inside another one.");
    if (!/^https?:\/\/[^/]+\//.test(home)) refuse("This page was not written for a staff site.");
    const told = new URLSearchParams(location.hash.slice(1));
    by("back").href = new URL("/", home).href;
    if (told.has("r")) {
      const raw = bytes(told.get("r"));
      const said = decode(raw);
      if (!same(said, ["by", "pulse"]) || !PATTERNS.pulse.test(said.pulse) || !is(said.by, "String")) {
        refuse("It is not said for whom the passkey is.");
      }
      by("title").textContent = "Make a signing passkey";
      by("lead").append(sentence("It is for ", alone(said.by),
        ". You sign clears with it, on this page alone. Your passkey for signing in is another one."));
      by("do").textContent = "Make the passkey";
      by("sign").hidden = false;
      by("form").addEventListener("submit", attempt(() => register(raw, said)));
      return;
    }
    if (!told.has("s")) refuse("There is nothing to sign here. Begin on the staff site.");
    const raw = bytes(told.get("s"));
    const said = read(raw);
    let ask;
    if (said.kind !== "ask") {
      if (!told.has("c")) refuse("It answers a request that is not shown.");
      const asked = bytes(told.get("c"));
      ask = read(asked);
      if (ask.kind !== "ask" || ask.request !== said.request || hex(await digest(asked)) !== said.ask) {
        refuse("It answers another request than the one that is shown.");
      }
      if (said.facts && said.facts.length !== (ask.devices || []).length) {
        refuse("It speaks of other devices than those that were asked for.");
      }
      if (said.kind === "witness" &&
          said.devices.join() !== ask.devices.map((one) => one.serial).join()) {
        refuse("It speaks of other devices than those that were asked for.");
      }
    }
    const named = (said.kind === "ask" ? said : ask).devices || [];
    if (new Set(named.map((each) => each.udid)).size !== named.length
        || new Set(named.map((each) => each.serial)).size !== named.length) {
      refuse("A device stands in it twice.");
    }
    show(said, ask);
    if (said.facts && ask.devices) differences(said, ask);
    const many = said.kind === "ask" && said.act === "clear" && named.length > 1 ? named.length : 0;
    by("counting").hidden = !many;
    const one = said.kind === "ask" && ["clear", "found"].includes(said.act) && said.devices.length === 1
      && said.devices[0].possession.how !== "code" ? said.devices[0] : undefined;
    by("typing").hidden = !one;
    const allowed = (told.get("k") || "").split(",").filter(Boolean).map(bytes);
    if (!allowed.length) refuse("It is not said with which passkey to sign.");
    by("form").addEventListener("submit", attempt(async () => {
      if (one && by("serial_end").value.trim().toUpperCase() !== one.serial.slice(-FOUR).toUpperCase()) {
        refuse("These are not the last four characters of the serial number shown above. Look at the device in your hands.");
      }
      if (many && by("count").value.trim() !== String(many)) {
        refuse(`This is not the number of devices shown above. You sign for ${many}; count what lies before you.`);
      }
      await sign(raw, allowed);
    }));
    if (one) by("serial_end").focus();
  };

  addEventListener("hashchange", () => location.reload());
  begin().catch((fault) => {
    by("sign").hidden = true;
    by("why").textContent = fault instanceof Refused ? fault.message : "This page cannot read what it was told.";
    by("stop").hidden = false;
  });
})();
