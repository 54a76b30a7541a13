// Makes a passkey, or signs one query with it. The page works as far as it can without: then there is the command line.
"use strict";

const fromText = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const asJson = (made, response) =>
  JSON.stringify({ id: made.id, rawId: toText(made.rawId), type: made.type, response });

async function make(form) {
  const asked = form.dataset;
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: fromText(asked.challenge),
      rp: { id: asked.relyingParty, name: "Gatehouse 门哨" },
      user: { id: fromText(asked.userHandle), name: asked.userName, displayName: asked.userName },
      pubKeyCredParams: [{ type: "public-key", alg: -8 }, { type: "public-key", alg: -7 }],
      excludeCredentials: asked.exclude.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: fromText(id) })),
      authenticatorSelection: { userVerification: "required", residentKey: asked.resident || "preferred" },
      attestation: "none",
    },
  });
  return asJson(made, {
    clientDataJSON: toText(made.response.clientDataJSON),
    attestationObject: toText(made.response.attestationObject),
  });
}

async function sign(form) {
  const asked = form.dataset;
  const made = await navigator.credentials.get({
    publicKey: {
      challenge: fromText(asked.challenge),
      rpId: asked.relyingParty,
      allowCredentials: asked.allow.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: fromText(id) })),
      userVerification: "required",
    },
  });
  return asJson(made, {
    clientDataJSON: toText(made.response.clientDataJSON),
    authenticatorData: toText(made.response.authenticatorData),
    signature: toText(made.response.signature),
  });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !window.PublicKeyCredential;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = form.querySelector(".problem");
    problem.hidden = true;
    try {
      form.elements.credential.value = await (form.dataset.passkey === "make" ? make(form) : sign(form));
      form.submit();
    } catch (error) {
      problem.hidden = false;
      problem.querySelector(".detail").textContent = error.name;
    }
  });
}
