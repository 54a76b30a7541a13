// Seals the visitor's form in the browser, and lets the pass's clock go on. ES5, as hpke.js is.
(function () {
  "use strict";

  function byId(id) { return document.getElementById(id); }

  // --- the form ------------------------------------------------------------------------------------------------

  var TYPED = ["name", "phone", "relation", "other_name"];

  function value(id) {
    var field = byId(id);
    if (!field) return "";
    var plain = "", text = field.value;
    for (var i = 0; i < text.length; i++) { // full-width forms as a Chinese keyboard makes them
      var code = text.charCodeAt(i);
      plain += code >= 0xff01 && code <= 0xff5e ? String.fromCharCode(code - 0xfee0) : code === 0x3000 ? " " : text.charAt(i);
    }
    return plain.replace(/\s+/g, " ").replace(/^ | $/g, "");
  }

  function phone() { // E.164; eleven digits that begin with 1 are a mobile number of the mainland
    var digits = value("phone").replace(/[\s()-]/g, "");
    return /^1[0-9]{10}$/.test(digits) ? "+86" + digits : digits;
  }

  function person() {
    return { name: value("name"), phone: phone(), relation: value("relation"), other: value("other_name") };
  }

  function problem(form, who) {
    if (byId("name") && !who.name) return ["name", form.getAttribute("data-no-name")];
    if (byId("phone") && !/^\+?[0-9]{5,20}$/.test(who.phone)) return ["phone", form.getAttribute("data-no-phone")];
    if (!who.relation !== !who.other) return ["other_name", form.getAttribute("data-no-other")];
    if (!byId("agree").checked) return ["agree", form.getAttribute("data-no-agree")];
    return null;
  }

  // The personal part as the vault reads it (docs/protocol.md, 4.2): a CBOR map of texts, one 0x80, zeros.
  function packed(who, length) {
    var fields = who.relation
      ? [[1, who.other], [8, who.name], [9, who.phone], [10, who.relation]]
      : [[1, who.name], [3, who.phone]];
    var body = [], count = 0;
    for (var i = 0; i < fields.length; i++) {
      if (!fields[i][1]) continue;
      var text = hpke.utf8(fields[i][1]);
      body = hpke.bytes(body, [fields[i][0]], text.length < 24 ? [0x60 + text.length] : [0x78, text.length], text);
      count++;
    }
    var plain = new Uint8Array(length);
    plain.set(hpke.bytes([0xa0 + count], body, [0x80]));
    return plain;
  }

  function complain(words) {
    var place = byId("script-wrong");
    place.hidden = !words;
    place.textContent = words || "";
  }

  function prepare(form) {
    byId("unsealed").hidden = true;
    byId("sealable").hidden = false;
    var isSending = false;
    form.setAttribute("novalidate", ""); // our own words, in the page's language
    form.addEventListener("submit", function (event) {
      if (form.getAttribute("data-unable")) return; // the server seals, and the page has said so
      event.preventDefault();
      if (isSending) return;
      var who = person(), found = problem(form, who);
      complain(found && found[1]);
      if (found) { byId(found[0]).focus(); return; }
      isSending = true;
      var key = hpke.fromBase64(form.getAttribute("data-key"));
      hpke.seal(
        key.subarray(8), hpke.fromBase64(form.getAttribute("data-info")), new Uint8Array(0),
        packed(who, Number(form.getAttribute("data-plain")))
      ).then(function (sealed) {
        byId("sealed").value = hpke.toBase64(hpke.bytes(key.subarray(0, 8), sealed));
        for (var i = 0; i < TYPED.length; i++) if (byId(TYPED[i])) byId(TYPED[i]).disabled = true; // not sent
        form.submit();
      })["catch"](function () { // an old browser that promised more than it does: say so, and let the person decide
        isSending = false;
        form.setAttribute("data-unable", "yes");
        byId("sealable").hidden = true;
        byId("unsealed").hidden = false;
        complain(byId("unsealed").textContent);
      });
    });
    window.addEventListener("pageshow", function () { // back from the pass: the fields can be used again
      byId("sealed").value = "";
      isSending = false;
      for (var i = 0; i < TYPED.length; i++) if (byId(TYPED[i])) byId(TYPED[i]).disabled = false;
    });
  }

  // --- the pass ------------------------------------------------------------------------------------------------

  function two(n) { return (n < 10 ? "0" : "") + n; }

  function run(clock) { // from the server's time on, so that a phone with a wrong clock shows the right one
    var parts = clock.getAttribute("data-at").split(":"), began = Date.now();
    var from = Number(parts[0]) * 3600 + Number(parts[1]) * 60 + Number(parts[2]);
    setInterval(function () {
      var now = (from + Math.floor((Date.now() - began) / 1000)) % 86400;
      clock.textContent = two(Math.floor(now / 3600)) + ":" + two(Math.floor(now / 60) % 60) + ":" + two(now % 60);
    }, 250);
  }

  if (byId("checkin") && window.hpke && hpke.isAble()) prepare(byId("checkin"));
  if (byId("clock")) run(byId("clock"));
})();
