// Says while one types what is still missing, in the words of the field's own hint. The page works without it.
"use strict";
for (const form of document.querySelectorAll("form[data-hints]")) {
  for (const input of form.querySelectorAll("input[type=text], input[type=tel]")) {
    const live = document.createElement("p");
    live.className = "live";
    live.setAttribute("aria-live", "polite");
    input.after(live);
    const look = () => {
      const length = [...input.value].length, most = input.maxLength;
      const isBad = input.value !== "" && !input.validity.valid;
      const isMissing = input.required && input.value.trim() === "";
      live.classList.toggle("bad", isBad || isMissing);
      if (isMissing) live.textContent = "✕ 请填写 Please fill this in.";
      else if (isBad) live.textContent = "✕ 格式不符，见上方说明 This does not fit; see the hint above.";
      else if (input.value !== "") live.textContent = most > 0 && most - length < 20 ? `✓ ${length} / ${most}` : "✓";
      else live.textContent = "";
    };
    input.addEventListener("input", look);
    input.addEventListener("blur", look);
  }
}
