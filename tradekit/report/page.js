// Values under the pointer, and the line under a name lit. The page is whole without this.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const show = (figure, kind, at) => {
    const set = data[kind];
    const tip = figure.querySelector(".tip");
    const rows = set.lines
      .map((line) => ({ ...line, value: line.values[at] }))
      .filter((line) => line.value !== null && (!line.rest || figure.querySelector("input.all").checked))
      .sort((a, b) => b.value - a.value);
    tip.replaceChildren();
    const head = document.createElement("b");
    head.textContent = set.times[at];
    tip.append(head);
    for (const row of rows) {
      const line = document.createElement("div");
      line.className = "c-" + row.style;
      const name = document.createElement("span");
      const key = document.createElement("span");
      key.className = "key";
      name.append(key, row.name);
      const value = document.createElement("span");
      const form = { minimumFractionDigits: set.digits, maximumFractionDigits: set.digits };
      const shown = (set.percent ? 100 * row.value : row.value).toLocaleString("en-US", form);
      value.textContent = shown.replace("-", "\u2212") + (set.percent ? "\u00a0%" : "");
      line.append(name, value);
      tip.append(line);
    }
    tip.style.display = "block";
    return tip;
  };

  for (const figure of document.querySelectorAll(".figure[data-set]")) {
    const kind = figure.dataset.set;
    const plots = [...figure.querySelectorAll(".plot")];
    const hide = () => {
      figure.querySelector(".tip").style.display = "none";
      for (const plot of plots) plot.querySelector(".cross").style.display = "none";
    };
    for (const plot of plots) {
      plot.addEventListener("pointermove", (event) => {
        const box = plot.getBoundingClientRect();
        const last = data[kind].times.length - 1;
        const at = clamp(Math.round(((event.clientX - box.left) / box.width) * last), 0, last);
        const cross = plot.querySelector(".cross");
        cross.style.left = (100 * at) / Math.max(1, last) + "%";
        cross.style.display = "block";
        const tip = show(figure, kind, at);
        const outer = figure.getBoundingClientRect();
        const x = event.clientX - outer.left;
        const right = x + 18 + tip.offsetWidth > outer.width;
        tip.style.left = clamp(right ? x - 18 - tip.offsetWidth : x + 18, 0, outer.width - tip.offsetWidth) + "px";
        tip.style.top = clamp(event.clientY - outer.top - 24, 0, Math.max(0, outer.height - tip.offsetHeight)) + "px";
      });
      plot.addEventListener("pointerleave", hide);
      plot.addEventListener("pointercancel", hide);
    }
    for (const label of figure.querySelectorAll("[data-line]")) {
      const lines = figure.querySelectorAll(`[data-line="${CSS.escape(label.dataset.line)}"]`);
      const light = (on) => {
        figure.classList.toggle("dim", on);
        for (const one of lines) one.classList.toggle("lit", on);
      };
      if (label.tagName === "path") continue;
      label.addEventListener("pointerenter", () => light(true));
      label.addEventListener("pointerleave", () => light(false));
    }
  }
})();
