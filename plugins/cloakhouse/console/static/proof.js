"use strict";
/* Checks the proof of one entry from what the page shows, with nothing asked of the server: the leaf hash from the
   bytes in #content, the walk up the hashes in #path (RFC 9162, section 2.1.3.2), the root and the size in the signed
   note in #note (C2SP signed-note, tlog-checkpoint), and its Ed25519 signature where the browser can. */
(function () {
  const K = [];
  const START = [];

  function constants() {
    const primes = [];
    for (let n = 2; primes.length < 64; n += 1) {
      if (primes.every((p) => n % p !== 0)) { primes.push(n); }
    }
    const fraction = (x) => Math.floor((x - Math.floor(x)) * 4294967296) | 0;
    primes.forEach((p, i) => {
      K.push(fraction(Math.cbrt(p)));
      if (i < 8) { START.push(fraction(Math.sqrt(p))); }
    });
  }

  /* SHA-256 (FIPS 180-4) for browsers that keep WebCrypto from pages without TLS. */
  function plainSha256(bytes) {
    if (!K.length) { constants(); }
    const blocks = new Uint8Array(((bytes.length + 8 >> 6) + 1) << 6);
    blocks.set(bytes);
    blocks[bytes.length] = 0x80;
    const view = new DataView(blocks.buffer);
    view.setUint32(blocks.length - 4, bytes.length << 3);
    view.setUint32(blocks.length - 8, Math.floor(bytes.length / 536870912));
    const turn = (x, n) => x >>> n | x << 32 - n;
    const state = START.slice();
    const w = new Int32Array(64);
    for (let at = 0; at < blocks.length; at += 64) {
      for (let t = 0; t < 16; t += 1) { w[t] = view.getInt32(at + 4 * t); }
      for (let t = 16; t < 64; t += 1) {
        const a = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ w[t - 15] >>> 3;
        const b = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ w[t - 2] >>> 10;
        w[t] = w[t - 16] + a + w[t - 7] + b | 0;
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let t = 0; t < 64; t += 1) {
        const x = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + K[t] + w[t] | 0;
        const y = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
        [h, g, f, e, d, c, b, a] = [g, f, e, d + x | 0, c, b, a, x + y | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((v, i) => { state[i] = state[i] + v | 0; });
    }
    const digest = new DataView(new ArrayBuffer(32));
    state.forEach((v, i) => digest.setInt32(4 * i, v));
    return new Uint8Array(digest.buffer);
  }

  const subtle = window.crypto && window.crypto.subtle;
  async function sha256(...parts) {
    const whole = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    parts.reduce((at, p) => { whole.set(p, at); return at + p.length; }, 0);
    return subtle ? new Uint8Array(await subtle.digest("SHA-256", whole)) : plainSha256(whole);
  }

  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  const unhex = (text) => Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
  const unbase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const text = (id) => document.getElementById(id).textContent;
  const encoder = new TextEncoder();

  /* The walk of RFC 9162, section 2.1.3.2; numbers stay below 2^53, so halves are floors and not shifts. */
  async function rootOf(leaf, index, size, path) {
    let [at, last, found] = [index, size - 1, leaf];
    for (const sibling of path) {
      if (last === 0) { return null; }
      if (at % 2 === 1 || at === last) {
        found = await sha256(Uint8Array.of(1), sibling, found);
        while (at % 2 === 0 && at !== 0) { [at, last] = [Math.floor(at / 2), Math.floor(last / 2)]; }
      } else {
        found = await sha256(Uint8Array.of(1), found, sibling);
      }
      [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
    }
    return last === 0 ? found : null;
  }

  function noteOf(note) {
    const cut = note.indexOf("\n\n");
    const lines = note.slice(0, cut).split("\n");
    const signature = note.slice(cut + 2).split("\n").find((line) => line.startsWith("\u2014 "));
    const [, name, packed] = signature.split(" ");
    const bytes = unbase64(packed);
    return { signed: note.slice(0, cut + 1), origin: lines[0], size: Number(lines[1]), root: unbase64(lines[2]),
      name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
  }

  /* true, false, or null where the browser can't tell */
  async function signed(note, key) {
    if (!key.length) { return null; }
    const id = await sha256(encoder.encode(note.name), Uint8Array.of(10, 1), key);
    if (hex(id.slice(0, 4)) !== hex(note.id)) { return false; }
    try {
      const imported = await subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
      return await subtle.verify({ name: "Ed25519" }, imported, note.signature, encoder.encode(note.signed));
    } catch (_) {
      return null;
    }
  }

  function say(ok, said, last) {
    const line = document.createElement("li");
    line.textContent = said;
    line.className = (ok === null ? "" : ok ? "ok" : "no") + (last ? " verdict-line" : "");
    document.getElementById("steps").append(line);
    return ok !== false;
  }

  async function check() {
    document.getElementById("steps").replaceChildren();
    const data = document.getElementById("proof").dataset;
    const index = Number(data.number);
    try {
      const leaf = await sha256(Uint8Array.of(0), encoder.encode(text("content")));
      const leafOk = say(hex(leaf) === text("leaf").trim(), "The bytes shown have the leaf hash " + hex(leaf).slice(0, 16) + "…");
      const note = noteOf(text("note"));
      const path = Array.from(document.querySelectorAll("#path code"), (one) => unhex(one.textContent.trim()));
      const root = await rootOf(leaf, index, note.size, path);
      const rootOk = say(root !== null && hex(root) === hex(note.root),
        path.length + " hashes lead from entry " + index + " to the root of " + note.size + " entries in the checkpoint");
      const sign = await signed(note, unbase64(data.key));
      say(sign, sign === null ? "This browser can't check the signature (Ed25519); the command line can"
        : sign ? "The checkpoint is signed by " + note.name : "The checkpoint's signature is not that of this key");
      const good = leafOk && rootOk && sign !== false;
      say(good, !good ? "The proof does NOT hold: tell whoever investigates"
        : sign ? "This entry is in the signed log" : "This entry is in the log of the checkpoint", true);
      document.getElementById("proof").dataset.outcome = good ? "holds" : "broken";
    } catch (_) {
      say(false, "The proof can't be read: it does not hold", true);
      document.getElementById("proof").dataset.outcome = "broken";
    }
  }

  if (typeof window.cloakhouseTest === "object") { window.cloakhouseTest.plainSha256 = plainSha256; }
  const button = document.getElementById("check");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", check);
  }
}());
