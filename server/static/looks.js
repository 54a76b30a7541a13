// Seals a resident's word to the vault. ES5, as hpke.js is. The field has no name: in clear it is never sent.
(function () {
  "use strict";

  var form = document.getElementById("looks"), field = document.getElementById("word");
  if (!form || !window.hpke || !hpke.isAble()) return;
  form.hidden = false;
  document.getElementById("unable").hidden = true;
  form.addEventListener("submit", function (event) {
    event.preventDefault();
    var key = hpke.fromBase64(form.getAttribute("data-key"));
    var plain = new Uint8Array(Number(form.getAttribute("data-plain")));
    var word = hpke.utf8(field.value.replace(/^\s+|\s+$/g, ""));
    if (word.length > plain.length - 1) { field.focus(); return; }
    plain.set(hpke.bytes(word, [0x80]));
    hpke.seal(key.subarray(8), hpke.fromBase64(form.getAttribute("data-info")), new Uint8Array(0), plain)
      .then(function (sealed) {
        document.getElementById("sealed-word").value = hpke.toBase64(hpke.bytes(key.subarray(0, 8), sealed));
        field.value = "";
        form.submit();
      })["catch"](function () {
        form.hidden = true;
        document.getElementById("unable").hidden = false;
      });
  });
})();
