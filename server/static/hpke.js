// Seals to a P-256 key: HPKE (RFC 9180), base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, one message.
// Written for browsers of 2016: ES5 and promises, nothing of later years. Held to the RFC's vector A.3.1 by a test.
(function (global) {
  "use strict";

  var KEM_SUITE = bytes("KEM", [0, 16]); // RFC 9180, 7.1: kem_id 0x0010
  var HPKE_SUITE = bytes("HPKE", [0, 16, 0, 1, 0, 1]); // kdf_id 0x0001, aead_id 0x0001
  var SECRET_BYTES = 32, KEY_BYTES = 16, NONCE_BYTES = 12, MODE_BASE = 0;
  var CURVE = { name: "ECDH", namedCurve: "P-256" };

  // Joins texts (ASCII), arrays of numbers and byte arrays.
  function bytes() {
    var parts = [], length = 0, i, j;
    for (i = 0; i < arguments.length; i++) {
      var part = arguments[i];
      if (typeof part === "string") {
        var codes = [];
        for (j = 0; j < part.length; j++) codes.push(part.charCodeAt(j));
        part = codes;
      }
      parts.push(part);
      length += part.length;
    }
    var all = new Uint8Array(length), at = 0;
    for (i = 0; i < parts.length; i++) { all.set(parts[i], at); at += parts[i].length; }
    return all;
  }

  function subtle() { return global.crypto && (global.crypto.subtle || global.crypto.webkitSubtle); }

  function hmac(key, message) {
    // an empty key and one of zeros are the same to HMAC (RFC 2104, 2), and WebCrypto refuses the empty one
    var raw = key.length ? key : new Uint8Array(32);
    return subtle().importKey("raw", raw, { name: "HMAC", hash: { name: "SHA-256" } }, false, ["sign"])
      .then(function (made) { return subtle().sign({ name: "HMAC" }, made, message); })
      .then(function (mac) { return new Uint8Array(mac); });
  }

  // RFC 9180, 4: LabeledExtract and LabeledExpand. No length here is over 32, so one round of HKDF-Expand does.
  function extract(salt, suite, label, material) { return hmac(salt, bytes("HPKE-v1", suite, label, material)); }
  function expand(secret, suite, label, info, length) {
    return hmac(secret, bytes([0, length], "HPKE-v1", suite, label, info, [1]))
      .then(function (block) { return block.subarray(0, length); });
  }

  // RFC 9180, 4.1: Encap, with the pair that is given or a fresh one.
  function encap(recipient, pair) {
    var theirs, ours = pair;
    return subtle().importKey("raw", recipient, CURVE, false, [])
      .then(function (key) { theirs = key; return ours || subtle().generateKey(CURVE, true, ["deriveBits"]); })
      .then(function (made) {
        ours = made;
        return Promise.all([
          subtle().deriveBits({ name: "ECDH", namedCurve: "P-256", public: theirs }, ours.privateKey, 256),
          subtle().exportKey("raw", ours.publicKey)
        ]);
      })
      .then(function (found) {
        var enc = new Uint8Array(found[1]);
        return extract([], KEM_SUITE, "eae_prk", new Uint8Array(found[0]))
          .then(function (prk) { return expand(prk, KEM_SUITE, "shared_secret", bytes(enc, recipient), SECRET_BYTES); })
          .then(function (secret) { return { enc: enc, secret: secret }; });
      });
  }

  // RFC 9180, 5.1: KeySchedule for mode_base, whose psk and psk_id are empty.
  function schedule(secret, info) {
    return Promise.all([extract([], HPKE_SUITE, "psk_id_hash", []), extract([], HPKE_SUITE, "info_hash", info)])
      .then(function (hashes) {
        var context = bytes([MODE_BASE], hashes[0], hashes[1]);
        return extract(secret, HPKE_SUITE, "secret", []).then(function (made) {
          return Promise.all([
            expand(made, HPKE_SUITE, "key", context, KEY_BYTES),
            expand(made, HPKE_SUITE, "base_nonce", context, NONCE_BYTES)
          ]);
        });
      });
  }

  // A promise of enc (65 bytes) and ciphertext, joined. `pair` is for the test with the RFC's ephemeral key only.
  function seal(recipient, info, associated, plain, pair) {
    return encap(recipient, pair).then(function (made) {
      return schedule(made.secret, info).then(function (found) {
        return subtle().importKey("raw", found[0], { name: "AES-GCM" }, false, ["encrypt"]).then(function (key) {
          return subtle().encrypt(
            { name: "AES-GCM", iv: found[1], additionalData: associated, tagLength: 128 }, key, plain
          );
        });
      }).then(function (sealed) { return bytes(made.enc, new Uint8Array(sealed)); });
    });
  }

  function utf8(text) { return bytes(unescape(encodeURIComponent(text))); }
  function fromBase64(text) { return bytes(atob(text)); }
  function toBase64(data) {
    var text = "";
    for (var i = 0; i < data.length; i++) text += String.fromCharCode(data[i]);
    return btoa(text);
  }

  // Whether this browser can: only a secure context has WebCrypto.
  function isAble() {
    return typeof Promise === "function" && typeof Uint8Array === "function" && !!subtle();
  }

  global.hpke = {
    seal: seal, isAble: isAble, bytes: bytes, utf8: utf8, fromBase64: fromBase64, toBase64: toBase64
  };
})(window);
